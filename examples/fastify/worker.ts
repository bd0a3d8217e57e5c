/** The worker: makes reports of what the service at `BOOKS_URL` gives. Start as many as there is work for. */
import { open } from 'holdfast';
import { channels } from './channels.ts';

const hf = await open(process.env['HOLDFAST_URL'] ?? 'file:./data', { channels });
const booksUrl = process.env['BOOKS_URL'] ?? 'http://127.0.0.1:8090/bookings';

await hf.channels.reportMake.consume(
  async (request, { signal }) => {
    const response = await fetch(booksUrl, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(request),
      signal,
    });
    if (!response.ok) throw new Error(`The books answer ${response.status}`);
    const bookings = (await response.json()) as { cents: number }[];
    // The result is kept with the message, where the web process finds it.
    return { rows: bookings.length, cents: bookings.reduce((sum, { cents }) => sum + cents, 0) };
  },
  { concurrency: 10 },
);
console.log('Waiting for requests');

process.once('SIGTERM', () => {
  console.log('Stopping');
  // Nothing more is taken. What runs may finish; what still runs after the grace goes back, and another worker gets it.
  void hf.close({ grace: '20s' });
});
