/** The trace of a simulation: a running hash of everything that happened, and its last lines for people. */

const TAIL_LINES = 400;

export class Trace {
  readonly #tail: string[] = [];
  readonly #print: ((line: string) => void) | undefined;
  #low = 0xdeadbeef;
  #high = 0x41c6ce57;

  constructor(print: ((line: string) => void) | undefined) {
    this.#print = print;
  }

  add(at: number, line: string): void {
    const text = `${at} ${line}`;
    this.#mix(text);
    this.#tail.push(text);
    if (this.#tail.length > TAIL_LINES * 2) this.#tail.splice(0, TAIL_LINES);
    this.#print?.(text);
  }

  /** 53 bits, by the method of cyrb53 (public domain). */
  get hash(): string {
    let low = Math.imul(this.#low ^ (this.#low >>> 16), 2246822507);
    low ^= Math.imul(this.#high ^ (this.#high >>> 13), 3266489909);
    let high = Math.imul(this.#high ^ (this.#high >>> 16), 2246822507);
    high ^= Math.imul(this.#low ^ (this.#low >>> 13), 3266489909);
    return (4294967296 * (2097151 & high) + (low >>> 0)).toString(16).padStart(14, '0');
  }

  tail(lines: number): string[] {
    return this.#tail.slice(-lines);
  }

  #mix(text: string): void {
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      this.#low = Math.imul(this.#low ^ unit, 2654435761);
      this.#high = Math.imul(this.#high ^ unit, 1597334677);
    }
  }
}
