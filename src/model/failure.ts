/** Why an attempt has failed. */

/** An error as data. `message` is cut after 1,024 characters and `stack` after 2,048. */
export interface Failure {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
}

export const MAX_FAILURE_MESSAGE_CHARACTERS = 1_024;
export const MAX_FAILURE_STACK_CHARACTERS = 2_048;
