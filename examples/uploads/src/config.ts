/** All that the environment decides. */

export interface Config {
  /** What is opened: a folder, or a server such as `holdfasts://queue.example.com`. */
  readonly connection: string;
  /** Where the files are. Both processes see it: on platforms where they cannot, an object storage takes its place. */
  readonly folder: string;
  readonly port: number;
  readonly maxUploadBytes: number;
  readonly thumbnailPixels: number;
}

export function readConfig(env: NodeJS.ProcessEnv): Config {
  return {
    connection: env['HOLDFAST_URL'] ?? 'file:./data',
    folder: env['FILES'] ?? './files',
    port: Number(env['PORT'] ?? 8080),
    maxUploadBytes: 20 * 1024 * 1024,
    thumbnailPixels: 200,
  };
}
