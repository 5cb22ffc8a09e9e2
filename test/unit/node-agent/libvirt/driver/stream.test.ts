/** The driver child's end of a console, over a libvirt that the test plays. */
import assert from "node:assert/strict";
import { streamEvent } from "../../../../../node-agent/libvirt/constants.ts";
import { HypervisorError } from "../../../../../node-agent/libvirt/hypervisor.ts";
import type { FromDriver } from "../../../../../node-agent/libvirt/protocol.ts";
import type { Connection } from "../../../../../node-agent/libvirt/driver/connection.ts";
import { WOULD_BLOCK } from "../../../../../node-agent/libvirt/driver/lane.ts";
import type { Library } from "../../../../../node-agent/libvirt/driver/library.ts";
import { Streams, UNREAD_BYTES_MAX } from "../../../../../node-agent/libvirt/driver/stream.ts";

const NUMBER = 7;
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

type Ready = (stream: unknown, events: number, opaque: number) => void;

/** What libvirt has to say and how much it takes; `calls` in the order in which it was called. */
class Played {
  readonly calls: string[] = [];
  readonly sent: FromDriver[] = [];
  readonly output: Buffer[] = [];
  readonly input: string[] = [];
  atEnd: 0 | "error" | undefined;
  roomBytes = Infinity;
  refuses: HypervisorError | undefined;
  readonly lost = Promise.withResolvers<string>();
  readonly streams: Streams;
  #ready: Ready = () => undefined;

  constructor() {
    const library = { callback: (_: string, run: Ready) => ((this.#ready = run), 1n), local: (name: string) => this.calls.push(name) };
    this.streams = new Streams(library as unknown as Library, (message) => this.sent.push(message));
  }

  open(creditBytes: number): Promise<void> {
    const lane = {
      lookup: async () => ({ [Symbol.dispose]: () => undefined }),
      onConnection: async () => 2n,
      onDomain: async () => {
        if (this.refuses) throw this.refuses;
        return 0;
      },
      onStream: async (name: string, _: bigint, ...rest: unknown[]) => this.#call(name, rest),
    };
    const connection = { lost: this.lost.promise, apart: (work: (one: typeof lane) => Promise<void>) => work(lane).finally(() => this.calls.push("lane closed")) };
    return this.streams.open(connection as unknown as Connection, { uuid: "u", stream: NUMBER, force: false, creditBytes });
  }

  async tell(events: number): Promise<void> {
    this.#ready(2n, events, NUMBER);
    for (let turns = 0; turns < 40; turns += 1) await turn();
  }

  async ask(request: Parameters<Streams["serve"]>[1]): Promise<void> {
    this.streams.serve(NUMBER, request);
    for (let turns = 0; turns < 10; turns += 1) await turn();
  }

  said(): string {
    return this.sent.map((message) => (message.type === "stream-data" ? Buffer.from(message.data).toString() : "")).join("");
  }

  end(): Extract<FromDriver, { type: "stream-ended" }> | undefined {
    return this.sent.find((message) => message.type === "stream-ended");
  }

  #call(name: string, rest: unknown[]): number {
    this.calls.push(name);
    if (name === "virStreamRecv") return this.#receive(rest[0] as Buffer);
    if (name !== "virStreamSend") return 0;
    const data = rest[0] as Buffer;
    if (this.roomBytes === 0) return WOULD_BLOCK;
    const taken = data.subarray(0, this.roomBytes);
    this.roomBytes -= taken.length;
    this.input.push(Buffer.from(taken).toString());
    return taken.length;
  }

  #receive(into: Buffer): number {
    const next = this.output.shift();
    if (next) return next.copy(into);
    if (this.atEnd === "error") throw new HypervisorError("failed", "cut off");
    return this.atEnd ?? WOULD_BLOCK;
  }
}

describe("the driver's end of a console", () => {
  it("sends on as far as the agent's credit goes, and keeps the rest", async () => {
    const played = new Played();
    await played.open(4);
    played.output.push(Buffer.from("abc"), Buffer.from("def"));
    await played.tell(streamEvent.READABLE);
    assert.equal(played.said(), "abcd");
    await played.ask({ do: "credit", bytes: 1 });
    assert.equal(played.said(), "abcde");
    await played.ask({ do: "credit", bytes: 100 });
    assert.equal(played.said(), "abcdef");
  });

  it("gives up a reader that leaves too much unread, after all that it has", async () => {
    const played = new Played();
    await played.open(1);
    const chunk = Buffer.alloc(64 * 1024, "x");
    for (let bytes = 0; bytes <= UNREAD_BYTES_MAX; bytes += chunk.length) played.output.push(chunk);
    await played.tell(streamEvent.READABLE);
    assert.match(played.end()?.error?.message ?? "", /not read fast enough/);
    assert.ok(played.said().length >= UNREAD_BYTES_MAX);
  });

  it("waits for room to write, asks to be told of it only then, and loses nothing", async () => {
    const played = new Played();
    await played.open(1);
    played.roomBytes = 3;
    await played.ask({ do: "write", data: Buffer.from("hello") });
    assert.deepEqual(played.input, ["hel"]);
    assert.equal(played.calls.at(-1), "virStreamEventUpdateCallback");
    played.roomBytes = 100;
    await played.tell(streamEvent.WRITABLE);
    assert.equal(played.input.join(""), "hello");
    assert.equal(played.calls.filter((call) => call === "virStreamEventUpdateCallback").length, 2);
    const written = played.sent.reduce((sum, message) => sum + (message.type === "stream-written" ? message.bytes : 0), 0);
    assert.equal(written, 5);
  });

  it("leaves the callback before anything else when the console ends, for it would be called without end", async () => {
    const played = new Played();
    await played.open(100);
    played.output.push(Buffer.from("last"));
    played.atEnd = 0;
    await played.tell(streamEvent.READABLE | streamEvent.HANGUP);
    const from = played.calls.indexOf("virStreamEventRemoveCallback");
    assert.deepEqual(played.calls.slice(from), ["virStreamEventRemoveCallback", "virStreamFinish", "virStreamFree", "lane closed"]);
    assert.equal(played.said(), "last");
    assert.deepEqual(played.end(), { type: "stream-ended", stream: NUMBER });
  });

  it("tells an error as one, and the loss of the daemon as that", async () => {
    const broken = new Played();
    await broken.open(100);
    broken.atEnd = "error";
    await broken.tell(streamEvent.ERROR);
    assert.equal(broken.end()?.error?.message, "cut off");
    const lost = new Played();
    await lost.open(100);
    lost.lost.resolve("killed");
    for (let turns = 0; turns < 10; turns += 1) await turn();
    assert.equal(lost.end()?.error?.kind, "connection-lost");
    assert.ok(lost.calls.includes("virStreamAbort") && lost.calls.includes("lane closed"));
  });

  it("ends when the agent closes it, and hears no more", async () => {
    const played = new Played();
    await played.open(100);
    await played.ask({ do: "close" });
    assert.deepEqual(played.end(), { type: "stream-ended", stream: NUMBER });
    played.output.push(Buffer.from("late"));
    await played.tell(streamEvent.READABLE);
    assert.equal(played.said(), "");
  });

  it("says why it was not opened, and only that", async () => {
    const played = new Played();
    played.refuses = new HypervisorError("failed", "taken");
    await assert.rejects(played.open(1), /taken/);
    await turn();
    assert.deepEqual(played.sent, []);
    assert.deepEqual(played.calls, ["virStreamFree", "lane closed"]);
  });
});
