/** Makes BullMQ's own module use Holdfast, for companions that import `bullmq` themselves. */
import { setDefaultBackendFactory } from 'bullmq';
import { createHoldfastBackend } from './backend.ts';

setDefaultBackendFactory(createHoldfastBackend);
