/** `holdfast update`: changes messages that wait. */
import { type Command, InvalidArgumentError } from 'commander';
import type { ChangeOptions } from '../../api/life.ts';
import { addMessageCommand } from '../message-command.ts';
import { durationFlag } from '../store-command.ts';

export interface ChangeFlags {
  readonly delay?: number;
  readonly dueAt?: number;
  readonly priority?: number;
  readonly lifo?: true;
}

interface UpdateFlags extends ChangeFlags {
  readonly message?: { readonly is: unknown };
}

export function addUpdate(program: Command): void {
  const command = addMessageCommand<UpdateFlags>(program, {
    name: 'update',
    description: 'change messages that wait, or when they are handed out',
    done: 'updated',
    act: (hf, id, flags) =>
      hf.admin.update(id, {
        ...changeOptions(flags),
        ...(flags.message !== undefined && { message: flags.message.is }),
      }),
  });
  command.option('--message <json>', 'what the message is from now on, as JSON', readMessage);
  addChangeFlags(command);
}

export function addChangeFlags(command: Command): void {
  command
    .option('--delay <duration>', 'of an update: deliver no earlier than this long from now; 0ms for now', durationFlag)
    .option('--due-at <moment>', 'of an update: deliver no earlier than then, such as 2030-01-31T12:00:00Z', readMoment)
    .option('--priority <number>', 'of an update: smaller is delivered first', readPriority)
    .option('--lifo', 'of an update: put a ready message before those of its priority');
}

export function changeOptions({ delay, dueAt, priority, lifo }: ChangeFlags): ChangeOptions {
  return {
    ...(delay !== undefined && { delay }),
    ...(dueAt !== undefined && { dueAt }),
    ...(priority !== undefined && { priority }),
    ...(lifo === true && { lifo }),
  };
}

function readMessage(text: string): { readonly is: unknown } {
  try {
    return { is: JSON.parse(text) as unknown };
  } catch {
    throw new InvalidArgumentError(`It must be JSON, such as '{"to":"ada"}'.`);
  }
}

function readMoment(text: string): number {
  const at = Date.parse(text);
  if (Number.isFinite(at)) return at;
  throw new InvalidArgumentError('It must be a moment, such as 2030-01-31T12:00:00Z.');
}

function readPriority(text: string): number {
  if (/^-?\d+$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number.');
}
