/** Reading a console's log: the tail, what comes, and why it ends. */
import assert from "node:assert/strict";
import { systemClock } from "../../../../lib/clock.ts";
import { KEPT_BYTES } from "../../../../node-agent/console/bound.ts";
import { FRAME_BYTES, output } from "../../../../node-agent/console/output.ts";
import type { ConsoleLog, Standing } from "../../../../node-agent/console/output.ts";

class Log implements ConsoleLog {
  content = Buffer.alloc(0);
  async sizeBytes() {
    return this.content.length;
  }
  async read(position: number, length: number) {
    return this.content.subarray(position, position + length);
  }
  async [Symbol.asyncDispose]() {
    this.content = Buffer.alloc(0);
  }
}

function reading(text: string, options: { follow?: boolean; tailBytes?: number }) {
  const log = new Log();
  log.content = Buffer.from(text);
  const state = { standing: "owner" as Standing };
  const { signal } = new AbortController();
  const frames = output(log, { follow: false, tailBytes: 1024, ...options, standing: () => state.standing, clock: systemClock, signal });
  const append = (more: string) => (log.content = Buffer.concat([log.content, Buffer.from(more)]));
  const cut = (rest: string) => (log.content = Buffer.from(rest));
  return { frames, append, cut, state };
}

const text = (result: IteratorResult<Uint8Array, string>) => (result.done ? `end ${result.value}` : Buffer.from(result.value).toString());

describe("a console's output", () => {
  it("is the last bytes, and then the end", async () => {
    const { frames } = reading("0123456789", { tailBytes: 4 });
    assert.equal(text(await frames.next()), "6789");
    assert.equal(text(await frames.next()), "end END_OF_OUTPUT");
  });

  it("is what there was when it was asked for, however fast the guest goes on", async () => {
    const { frames, append } = reading("0123456789", { tailBytes: 4 });
    assert.equal(text(await frames.next()), "6789");
    append("more");
    assert.equal(text(await frames.next()), "end END_OF_OUTPUT");
  });

  it("comes in frames of a bounded size", async () => {
    const { frames } = reading("x".repeat(FRAME_BYTES + 1), { tailBytes: 1 << 20 });
    assert.equal(text(await frames.next()).length, FRAME_BYTES);
    assert.equal(text(await frames.next()).length, 1);
  });

  it("goes on with what comes, up to the last byte of a machine that is gone", async () => {
    const { frames, append, state } = reading("a", { follow: true });
    assert.equal(text(await frames.next()), "a");
    const next = frames.next();
    append("b");
    assert.equal(text(await next), "b");
    append("last words");
    state.standing = "unknown";
    assert.equal(text(await frames.next()), "last words");
    assert.equal(text(await frames.next()), "end END_OF_OUTPUT");
  });

  it("says that the machine has moved", async () => {
    const { frames, state } = reading("", { follow: true });
    state.standing = "moved";
    assert.equal(text(await frames.next()), "end INSTANCE_MOVED");
  });

  it("leaves out what is no longer kept", async () => {
    const { frames, append } = reading("old", { follow: true });
    append("x".repeat(KEPT_BYTES));
    assert.equal(text(await frames.next())[0], "x");
  });

  it("begins anew when the log was cut short", async () => {
    const { frames, cut } = reading("long ago", { follow: true });
    await frames.next();
    cut("new");
    assert.equal(text(await frames.next()), "new");
  });
});
