import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Delivery, Notice, Reply } from '#holdfast/model/command.js';
import { NEEDS_TOKEN } from '#holdfast/model/access-token.js';
import { decodeEvents, EventsWriter } from '#holdfast/wire/events.js';
import * as frames from '#holdfast/wire/frames.js';
import { decodeRequests, encodeRequests } from '#holdfast/wire/requests.js';
import { commands, deliveries, notices, replies } from '../helpers/commands.ts';

type Event =
  | { readonly reply: Reply; readonly request: number }
  | { readonly delivery: Delivery }
  | { readonly notice: Notice };

const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ reply: replies, request: fc.maxSafeNat() }),
  fc.record({ delivery: deliveries }),
  fc.record({ notice: notices }),
);

/** A delivery points into a frame or a pack; what counts is what stands there. */
function comparable(each: Event): unknown {
  if (!('delivery' in each)) return each;
  const { bytes, itemStart, itemEnd, ...delivery } = each.delivery;
  return { delivery, item: [...bytes.subarray(itemStart, itemEnd)] };
}

const hex = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex'));

describe('REQUESTS', () => {
  test('carries every kind of command, in order', () => {
    const request = fc.record({ request: fc.maxSafeNat(), command: commands });
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.array(request, { maxLength: 6 }), (answeredUpTo, requests) => {
        expect(decodeRequests(encodeRequests({ answeredUpTo, requests }))).toEqual({
          answeredUpTo,
          requests,
          memoryBytes: expect.any(Number),
        });
      }),
      { numRuns: 500 },
    );
  });
});

describe('EVENTS', () => {
  test('carries every kind of reply, delivery and notice, in order', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 10 }), (events) => {
        const writer = new EventsWriter();
        for (const each of events) {
          if ('reply' in each) writer.reply(each.request, each.reply);
          else if ('delivery' in each) writer.delivery(each.delivery);
          else writer.notice(each.notice);
        }
        expect(writer.length === 1).toBe(events.length === 0);
        const heard: Event[] = [];
        decodeEvents(writer.finish(), {
          reply: (request, reply) => heard.push({ reply, request }),
          delivery: (delivery) => heard.push({ delivery }),
          notice: (notice) => heard.push({ notice }),
        });
        expect(heard.map(comparable)).toEqual(events.map(comparable));
      }),
      { numRuns: 500 },
    );
  });
});

const needs = fc.constantFrom(...NEEDS_TOKEN);

describe('HELLO, WELCOME and GOODBYE', () => {
  test('carry what they are given', () => {
    fc.assert(
      fc.property(
        hex,
        fc.string(),
        needs,
        fc.boolean(),
        fc.maxSafeNat(),
        (session, host, needsToken, resumed, applied) => {
          const text = Buffer.from(host).toString();
          const hello = { session, host: text, token: text, needsToken, lingerMs: applied };
          expect(frames.decodeHello(frames.encodeHello(hello))).toEqual(hello);
          const welcome = { resumed, applied, durability: 'disk', sessionTimeoutMs: applied } as const;
          expect(frames.decodeWelcome(frames.encodeWelcome(welcome))).toEqual(welcome);
          const goodbye = { code: 'CLOSED', message: hello.host } as const;
          expect(frames.decodeGoodbye(frames.encodeGoodbye(goodbye))).toEqual(goodbye);
          const explained = { ...goodbye, cause: text };
          expect(frames.decodeGoodbye(frames.encodeGoodbye(explained))).toEqual(explained);
        },
      ),
    );
  });

  test('a HELLO of another version is refused, and the version that is spoken is named', () => {
    const hello = frames.encodeHello({ session: '0'.repeat(32), host: 'host', token: '', needsToken: 'never' });
    hello[1] = 99;
    expect(() => frames.decodeHello(hello)).toThrow('Cannot speak version 99 of the protocol: this broker speaks');
  });
});
