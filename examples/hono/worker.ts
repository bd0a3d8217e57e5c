/** The worker: sends emails through the service at `MAIL_URL`. Start as many as there is work for. */
import { open } from 'holdfast';
import { channels } from './channels.ts';

const hf = await open(process.env['HOLDFAST_URL'] ?? 'file:./data', { channels });
const mailUrl = process.env['MAIL_URL'] ?? 'http://127.0.0.1:8025/send';

await hf.channels.emailSend.consume(
  async (email, { id, signal }) => {
    const response = await fetch(mailUrl, {
      method: 'POST',
      // The same at each attempt: a service that knows such keys sends an email once.
      headers: { 'content-type': 'application/json', 'idempotency-key': id },
      body: JSON.stringify(email),
      signal,
    });
    if (!response.ok) throw new Error(`The mail service answers ${response.status}`);
  },
  { concurrency: 10 },
);
console.log('Waiting for emails');

process.once('SIGTERM', () => {
  console.log('Stopping');
  // Nothing more is taken. What runs may finish; what still runs after the grace goes back, and another worker gets it.
  void hf.close({ grace: '20s' });
});
