// Opens each folder among its arguments and says, a line each, with which code that failed, or what was in it.
import { writeSync } from 'node:fs';
import { open } from 'holdfast';

for (const folder of process.argv.slice(2)) writeSync(1, `${JSON.stringify(await read(folder))}\n`);

async function read(folder) {
  const lines = [];
  let holdfast;
  try {
    holdfast = await open(`file:${folder}`, { log: ({ message }) => lines.push(message) });
    const channel = holdfast.channel('kept', { retain: { completed: false } });
    const messages = [];
    for (const state of ['ready', 'completed']) {
      for (let offset = 0; ; offset += 100) {
        const page = await channel.list(state, { offset, limit: 100 });
        messages.push(...page.map(({ message, result }) => ({ ...message, state, result })));
        if (page.length < 100) break;
      }
    }
    return { messages };
  } catch (error) {
    return { code: error.code ?? String(error), lines };
  } finally {
    await holdfast?.close();
  }
}
