/**
 * File names as text. On most systems a name is any string of bytes, UTF-8 by custom only. A byte that is not part
 * of valid UTF-8 becomes a lone surrogate, U+DC80 to U+DCFF, so that every name has a text of its own and comes
 * back from it unchanged (as in Python, PEP 383); JSON writes such a character as an escape.
 */

const STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The text of a name or path. */
export function textOfPath(path: Uint8Array): string {
  try {
    return STRICT.decode(path);
  } catch {
    return escaped(path);
  }
}

/** The text as a terminal may safely show it: on one line and without control characters. */
export function shownPath(path: Uint8Array): string {
  const text = textOfPath(path);
  return /[\p{Cc}\p{Cs}]/u.test(text) ? JSON.stringify(text) : text;
}

function escaped(path: Uint8Array): string {
  let text = '';
  for (let at = 0; at < path.length;) {
    const character = characterAt(path, at);
    text += character ?? String.fromCharCode(0xdc00 + (path[at] as number));
    at += character === undefined ? 1 : Buffer.byteLength(character);
  }
  return text;
}

function characterAt(path: Uint8Array, at: number): string | undefined {
  const first = path[at] as number;
  const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  try {
    return STRICT.decode(path.subarray(at, at + length));
  } catch {
    return undefined;
  }
}
