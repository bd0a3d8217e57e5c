/** The fields of a scheduler, as BullMQ stores them. */
import type { RepeatableOptions } from 'bullmq';

const FIELDS = ['name', 'tz', 'limit', 'pattern', 'startDate', 'endDate', 'every', 'offset'] as const;

export function schedulerFieldsOf(opts: RepeatableOptions): Record<string, string | number> {
  const given = opts as Readonly<Record<string, string | number | null | undefined>>;
  const fields: Record<string, string | number> = {};
  for (const name of FIELDS) {
    const { [name]: value } = given;
    if (value !== undefined && value !== null) fields[name] = value;
  }
  return fields;
}
