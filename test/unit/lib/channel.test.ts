import assert from "node:assert/strict";
import { Channel, ChannelClosed } from "../../../lib/channel.ts";

describe("channel", () => {
  it("delivers in order and ends after what was left when closed", async () => {
    const channel = new Channel<number>(10);
    for (const item of [1, 2, 3]) assert.ok(channel.offer(item));
    channel.close();
    const seen: number[] = [];
    for await (const item of channel) seen.push(item);
    assert.deepEqual(seen, [1, 2, 3]);
  });

  it("makes the writer wait while it is full and loses nothing", async () => {
    const channel = new Channel<number>(2);
    const writer = (async () => {
      for (let item = 0; item < 100; item++) await channel.push(item);
      channel.close();
    })();
    let largest = 0;
    const seen: number[] = [];
    for await (const item of channel) {
      largest = Math.max(largest, channel.length);
      seen.push(item);
    }
    await writer;
    assert.deepEqual(seen, Array.from({ length: 100 }, (_, index) => index));
    assert.ok(largest <= 2);
  });

  it("hands over what waits, and lets the writers go on", async () => {
    const channel = new Channel<number>(3);
    for (const item of [1, 2, 3]) assert.ok(channel.offer(item));
    const waiting = channel.push(4);
    assert.deepEqual(channel.take(2), [1, 2]);
    await waiting;
    assert.deepEqual([channel.take(9), channel.take(9)], [[3, 4], []]);
  });

  it("refuses more once the reader has gone, also to a writer that waits", async () => {
    const channel = new Channel<number>(1);
    await channel.push(1);
    const waiting = channel.push(2);
    for await (const _ of channel) break;
    await assert.rejects(async () => {
      await waiting;
      await channel.push(3);
    }, ChannelClosed);
  });

  it("hands an error to the reader after what came before it", async () => {
    const channel = new Channel<number>(5);
    channel.offer(1);
    channel.close(new Error("cut"));
    const seen: number[] = [];
    await assert.rejects(async () => {
      for await (const item of channel) seen.push(item);
    }, /cut/);
    assert.deepEqual(seen, [1]);
  });
});
