/** Both ends of a console for tests: who reads it, and the agent that answers the server's offer. */
import { AttachRequest } from "../../gen/drover/agent/v1/agent.ts";
import type { TunnelOffer } from "../../gen/drover/agent/v1/agent.ts";
import { Channel } from "../../lib/channel.ts";
import type { Clients, Host, NodeClient } from "./server.ts";

export type Frame = NonNullable<AttachRequest["message"]>;
export const opening = (tunnelId: string): Frame => ({ $case: "open", value: { tunnelId } });
export const data = (text: string): Frame => ({ $case: "data", value: Buffer.from(text) });

/** A reader whose first message has been asked for; `next` gives text, "END", or throws. */
export function reading({ instances }: Pick<Clients, "instances">, place: { namespace: string; name: string }) {
  const leaving = new AbortController();
  const stream = instances.readConsole({ ...place, follow: true }, { signal: leaving.signal })[Symbol.asyncIterator]();
  const first = stream.next();
  first.catch(() => undefined);
  return {
    first,
    async next(): Promise<string> {
      for (;;) {
        const { done, value } = await stream.next();
        if (done) return "END";
        if (value.data.length > 0) return value.data.toString();
      }
    },
    async leave() {
      leaving.abort();
      await first.catch(() => undefined);
    },
  };
}

export async function offered({ agent }: Host): Promise<TunnelOffer> {
  for (;;) {
    const message = await agent.next();
    if (message.$case === "tunnelOffer") return message.value;
  }
}

/** An agent's half of a tunnel, with frames of any kind in any order; `ended` says how the server ended it. */
export function attach(client: NodeClient, ...frames: (Frame | undefined)[]) {
  const requests = new Channel<AttachRequest>(100);
  const send = (message: Frame | undefined) => requests.offer(AttachRequest.create({ message }));
  for (const frame of frames) send(frame);
  const answers: number[] = [];
  const ended = (async () => {
    for await (const { data: bytes } of client.attach(requests)) answers.push(bytes.length);
  })();
  ended.catch(() => undefined);
  return { send, ended, answers, close: () => requests.close() };
}
