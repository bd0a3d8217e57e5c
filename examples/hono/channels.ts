/** What the web process and the worker have in common. */
import { defineChannel } from 'holdfast';
import { z } from 'zod';

const Email = z.object({ to: z.email(), text: z.string().max(10_000) });

export const channels = {
  emailSend: defineChannel('email/send', { schema: Email, attempts: 8 }),
};
