/** The agent's end of a console: what it lets come and go ahead, and how it ends. */
import assert from "node:assert/strict";
import { HypervisorError } from "../../../../node-agent/libvirt/hypervisor.ts";
import type { StreamRequest } from "../../../../node-agent/libvirt/protocol.ts";
import { DriverStream, WRITE_WINDOW_BYTES } from "../../../../node-agent/libvirt/stream.ts";

function play() {
  const sent: StreamRequest[] = [];
  const stream = new DriverStream((request) => sent.push(request));
  const writtenBytes = () => sent.reduce((sum, request) => sum + (request.do === "write" ? request.data.length : 0), 0);
  return { sent, stream, writtenBytes };
}
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("the agent's end of a console", () => {
  it("lets more come only when what came was taken", async () => {
    const { sent, stream } = play();
    stream.received(Buffer.from("abc"));
    stream.received(Buffer.from("de"));
    assert.deepEqual(sent, []);
    const reader = stream.read();
    assert.equal(String((await reader.next()).value), "abc");
    assert.deepEqual(sent, [{ do: "credit", bytes: 3 }]);
    assert.equal(String((await reader.next()).value), "de");
  });

  it("sends no more than a window ahead of the guest, and all of it in the end", async () => {
    const { stream, writtenBytes } = play();
    const total = 3 * WRITE_WINDOW_BYTES + 5;
    let isDone = false;
    const writing = stream.write(Buffer.alloc(total)).then(() => (isDone = true));
    await turn();
    assert.equal(writtenBytes(), WRITE_WINDOW_BYTES);
    stream.written(10);
    await turn();
    assert.equal(writtenBytes(), WRITE_WINDOW_BYTES + 10);
    assert.equal(isDone, false);
    for (let round = 0; round < 4; round += 1) {
      stream.written(WRITE_WINDOW_BYTES);
      await turn();
    }
    await writing;
    assert.equal(writtenBytes(), total);
  });

  it("gives what came before the end, and then the end", async () => {
    const { stream } = play();
    stream.received(Buffer.from("last words"));
    stream.ended(new HypervisorError("connection-lost", "gone"));
    const reader = stream.read();
    assert.equal(String((await reader.next()).value), "last words");
    await assert.rejects(reader.next(), /gone/);
    await assert.rejects(stream.write(Buffer.from("x")), /gone/);
  });

  it("wakes a reader and a writer that wait when it ends", async () => {
    const { stream } = play();
    const reading = stream.read().next();
    const writing = stream.write(Buffer.alloc(WRITE_WINDOW_BYTES + 1));
    await turn();
    stream.ended();
    assert.equal((await reading).done, true);
    await assert.rejects(writing, /closed/);
  });

  it("is closed once, and takes nothing afterwards", async () => {
    const { sent, stream } = play();
    stream.close();
    stream.close();
    assert.deepEqual(sent, [{ do: "close" }]);
    await assert.rejects(stream.write(Buffer.from("x")), HypervisorError);
    assert.equal((await stream.read().next()).done, true);
  });
});
