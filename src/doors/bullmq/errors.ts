/** Refusals in BullMQ's words: applications compare them. */
import { UnrecoverableError } from 'bullmq';
import { BULL_ERROR } from '../../model/bull.ts';

/** What a refusal is about. */
export interface Subject {
  readonly command: string;
  readonly jobId?: string | undefined;
  readonly parentKey?: string | undefined;
  readonly state?: string | undefined;
}

/** The error for one of BullMQ's numeric codes, which it carries as `code`. */
export function errorOf(code: number, subject: Subject): Error {
  const message = messageOf(code, subject);
  const error = code === BULL_ERROR.failedChildren ? new UnrecoverableError(message) : new Error(message);
  return Object.assign(error, { code });
}

function messageOf(code: number, { command, jobId, parentKey, state }: Subject): string {
  switch (code) {
    case BULL_ERROR.jobNotExist:
      return `Missing key for job ${jobId}. ${command}`;
    case BULL_ERROR.lockNotExist:
      return `Missing lock for job ${jobId}. ${command}`;
    case BULL_ERROR.notInState:
      return `Job ${jobId} is not in the ${state} state. ${command}`;
    case BULL_ERROR.pendingChildren:
      return `Job ${jobId} has pending dependencies. ${command}`;
    case BULL_ERROR.parentNotExist:
      return `Missing key for parent job ${parentKey}. ${command}`;
    case BULL_ERROR.lockMismatch:
      return `Lock mismatch for job ${jobId}. Cmd ${command} from ${state}`;
    case BULL_ERROR.parentCannotBeReplaced:
      return `The parent job ${parentKey} cannot be replaced. ${command}`;
    case BULL_ERROR.belongsToScheduler:
      return `Job ${jobId} belongs to a job scheduler and cannot be removed directly. ${command}`;
    case BULL_ERROR.failedChildren:
      return `Cannot complete job ${jobId} because it has at least one failed child. ${command}`;
    case BULL_ERROR.schedulerIdCollision:
      return `Cannot create job scheduler iteration - job ID already exists. ${command}`;
    case BULL_ERROR.schedulerSlotsBusy:
      return `Cannot create job scheduler iteration - current and next time slots already have jobs. ${command}`;
    default:
      return `Unknown code ${code} error for ${jobId}. ${command}`;
  }
}
