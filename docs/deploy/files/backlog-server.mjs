// Gives what `holdfast stats --json` says over HTTP, at PORT, for autoscalers that ask there. /NAME is one channel or queue.
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import { promisify } from 'node:util';

const run = promisify(execFile);

const server = createServer((request, response) => {
  const name = decodeURIComponent((request.url ?? '/').slice(1));
  const stats = run('holdfast', ['stats', '--json', ...(name === '' ? [] : ['--', name])]);
  stats.then(
    // Autoscalers want numbers: where nothing waits, it has waited for 0 ms.
    ({ stdout }) => response.end(JSON.stringify(JSON.parse(stdout), (_key, value) => value ?? 0)),
    (error) => response.writeHead(503).end(error.stderr || error.message),
  );
});

server.listen(Number(process.env.PORT ?? 8080), () => console.log(`Listening at port ${server.address().port}`));
process.once('SIGTERM', () => server.close());
