/** What a handler sees of the messages that its own has waited for. */
import { decode } from '../codec/bson.ts';
import type { Failure } from '../model/failure.ts';
import type { ChildPage, ChildView } from '../model/flow-views.ts';
import type { MessageId } from '../model/message-id.ts';

/** A child as the handler of its parent sees it. */
export interface FlowChild<Result = unknown> extends Omit<ChildView, 'result'> {
  /** What its handler returned; `undefined` unless it is completed. */
  readonly result: Result | undefined;
  readonly failure: Failure | undefined;
}

/** A channel as far as the results of its messages are concerned. */
export interface ResultSource<Result> {
  readonly name: string;
  result(id: MessageId): Promise<Result>;
}

/** Reads the children of a handler's message; with a channel only its own. */
export interface ReadChildren {
  (): AsyncGenerator<FlowChild, void, void>;
  <Result>(channel: ResultSource<Result>): AsyncGenerator<FlowChild<Result>, void, void>;
}

/** The children of a message that the handler holds, page by page. */
export async function* readChildren(
  pageAt: (offset: number) => Promise<ChildPage>,
  channel: string | undefined,
): AsyncGenerator<FlowChild<never>, void, void> {
  for (let offset: number | undefined = 0; offset !== undefined;) {
    const page: ChildPage = await pageAt(offset);
    for (const { result, ...child } of page.children) {
      if (channel !== undefined && child.channel !== channel) continue;
      yield { ...child, result: (result && decode(result)) as never };
    }
    offset = page.next;
  }
}
