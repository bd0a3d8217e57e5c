// Functions that are given an instance; what else is exported is not for a worker.
import { say } from './say.mjs';

export default (hf) => hf.channel('default').consume((text) => say({ said: 'default', text }));

export const consumeMails = async (hf) => [
  await hf.channel('mails').consume((text) => say({ said: 'mails', text })),
  await hf.channel('letters').consume((text) => say({ said: 'letters', text })),
];

export function consumed() {
  say({ said: 'called what is not for a worker' });
}

export const helper = () => say({ said: 'called what is not for a worker' });
