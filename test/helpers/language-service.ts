/** The compiler as an editor sees it: a process that speaks the Language Server Protocol. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export interface LanguageService {
  /** What an editor shows over the first place that this text stands at, from its last word on: the type alone, on one line. */
  hover(text: string): Promise<string>;
  close(): Promise<void>;
}

interface Answer {
  readonly id?: number | string;
  readonly method?: string;
  readonly params?: { readonly items?: readonly unknown[] };
  readonly result?: { readonly contents?: { readonly value: string } } | null;
}

const compiler = join(fileURLToPath(new URL('../../', import.meta.url)), 'node_modules', '.bin', 'tsc');

/** Opens a file, with the `tsconfig.json` beside it. */
export async function openInEditor(path: string): Promise<LanguageService> {
  const code = await readFile(path, 'utf8');
  const uri = pathToFileURL(path).href;
  const server = spawn(compiler, ['--lsp', '--stdio'], { stdio: ['pipe', 'pipe', 'ignore'] });
  const waiting = new Map<number | string, (answer: Answer) => void>();
  const send = (message: object): void => {
    const text = JSON.stringify({ jsonrpc: '2.0', ...message });
    server.stdin.write(`Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
  };
  const ask = (method: string, params?: object): Promise<Answer> =>
    new Promise((resolve) => {
      const id = waiting.size + 1;
      waiting.set(id, resolve);
      send({ id, method, params });
    });
  server.stdout.on(
    'data',
    messages(({ id, method, params, ...rest }) => {
      if (id === undefined) return;
      // The server asks for settings: there are none.
      if (method !== undefined) send({ id, result: params?.items?.map(() => null) ?? null });
      else waiting.get(id)?.(rest);
    }),
  );
  const textDocument = { uri };
  await ask('initialize', {
    processId: process.pid,
    rootUri: pathToFileURL(join(path, '..')).href,
    capabilities: { textDocument: { hover: { contentFormat: ['plaintext'] } } },
  });
  send({ method: 'initialized', params: {} });
  send({
    method: 'textDocument/didOpen',
    params: { textDocument: { uri, languageId: 'typescript', version: 1, text: code } },
  });
  return {
    async hover(text) {
      const at = code.indexOf(text);
      if (at === -1) throw new Error(`Cannot find "${text}" in ${path}`);
      const before = code.slice(0, at + text.search(/\w+\W*$/)).split('\n');
      const position = { line: before.length - 1, character: (before.at(-1) as string).length };
      const { result } = await ask('textDocument/hover', { textDocument, position });
      return (result?.contents?.value ?? '').replaceAll(/\s+/g, ' ');
    },
    async close() {
      const closed = once(server, 'close');
      await ask('shutdown');
      send({ method: 'exit' });
      await closed;
    },
  };
}

/** Takes the messages out of a stream of bytes: a header with their length, an empty line, and JSON. */
function messages(hear: (message: Answer) => void): (bytes: Buffer) => void {
  let rest = Buffer.alloc(0);
  return (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    for (;;) {
      const header = rest.indexOf('\r\n\r\n');
      if (header === -1) return;
      const length = Number(/Content-Length: (\d+)/.exec(rest.toString('latin1', 0, header))?.[1]);
      const end = header + 4 + length;
      if (rest.length < end) return;
      const message = JSON.parse(rest.toString('utf8', header + 4, end)) as Answer;
      rest = rest.subarray(end);
      hear(message);
    }
  };
}
