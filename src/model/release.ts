/**
 * The name of the BroadcastChannel by which the threads of a process hear that it is about to be killed in order: what its
 * clients hold goes back uncounted. Any message on it says so.
 */
export const RELEASE_CHANNEL = 'holdfast release';
