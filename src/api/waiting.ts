/** Waiting that a signal can end. */

/** What was waited for, or the signal's reason; then `stop` is called. */
export async function unlessAborted<T>(
  waited: Promise<T>,
  stop: () => void,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (signal === undefined) return waited;
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      stop();
      reject(signal.reason as Error);
    };
    if (signal.aborted) return abort();
    signal.addEventListener('abort', abort, { once: true });
    waited.then(
      (value) => {
        signal.removeEventListener('abort', abort);
        resolve(value);
      },
      (error: Error) => {
        signal.removeEventListener('abort', abort);
        reject(error);
      },
    );
  });
}
