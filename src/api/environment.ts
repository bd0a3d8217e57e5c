/** Environment variables, which a runtime may keep to itself. */

/** The value of a variable; one that may not be read, as under Deno without `--allow-env`, counts as not set. */
export function environment(name: string): string | undefined {
  try {
    return process.env[name];
  } catch {
    return undefined;
  }
}
