/** What the web process and the worker have in common. */
import { defineChannel } from 'holdfast';

export interface ReportRequest {
  readonly customer: string;
  readonly year: number;
}

export interface Report {
  readonly rows: number;
  readonly cents: number;
}

export const channels = {
  reportMake: defineChannel<ReportRequest, Report>('report/make', {
    attempts: 3,
    retain: { completed: { age: '1d' } },
  }),
};
