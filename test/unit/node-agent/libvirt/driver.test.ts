/** The agent's side of the driver, against children that hang, die and are late, on a clock the test moves. */
import assert from "node:assert/strict";
import type { Clock } from "../../../../lib/clock.ts";
import type { Random } from "../../../../lib/random.ts";
import { Driver } from "../../../../node-agent/libvirt/driver.ts";
import { HypervisorError } from "../../../../node-agent/libvirt/hypervisor.ts";
import type { HypervisorEvent } from "../../../../node-agent/libvirt/hypervisor.ts";
import type { FromDriver, ToDriver } from "../../../../node-agent/libvirt/protocol.ts";
import type { DriverListener, DriverTransport } from "../../../../node-agent/libvirt/transport.ts";

class ManualClock implements Clock {
  #nowMs = 0;
  #timers: { atMs: number; run: () => void }[] = [];
  monotonicMs = () => this.#nowMs;
  now = () => new Date(this.#nowMs);
  after(delayMs: number, run: () => void) {
    const timer = { atMs: this.#nowMs + delayMs, run };
    this.#timers.push(timer);
    return { cancel: () => void (this.#timers = this.#timers.filter((one) => one !== timer)) };
  }
  /** Runs what falls due, in order. */
  pass(durationMs: number): void {
    const untilMs = this.#nowMs + durationMs;
    for (;;) {
      const [due] = this.#timers.filter(({ atMs }) => atMs <= untilMs).sort((one, other) => one.atMs - other.atMs);
      if (due === undefined) break;
      this.#timers = this.#timers.filter((one) => one !== due);
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      due.run();
    }
    this.#nowMs = untilMs;
  }
}

/** A child played by the test. */
class PlayedChild {
  readonly sent: ToDriver[] = [];
  killed = false;
  readonly #listener: DriverListener;
  constructor(listener: DriverListener) {
    this.#listener = listener;
  }
  send = (message: ToDriver): void => void this.sent.push(message);
  kill = (): void => void (this.killed = true);
  says = (message: FromDriver): void => this.#listener.message(message);
  dies = (reason: string): void => this.#listener.exited(reason);
  calls = () => this.sent.filter((message) => message.type === "call");
}

function play() {
  const clock = new ManualClock();
  const random: Random = { uuid: () => "", fraction: () => 0.5, token: () => "" };
  const children: PlayedChild[] = [];
  const transport: DriverTransport = {
    spawn(listener) {
      const child = new PlayedChild(listener);
      children.push(child);
      return child;
    },
  };
  const faults: string[] = [];
  const events: HypervisorEvent[] = [];
  const driver = new Driver({ transport, clock, random, report: (fault) => faults.push(fault) });
  const host = driver.attach("test:///default", (event) => events.push(event));
  return { clock, children, faults, events, driver, host, child: () => children.at(-1)! };
}

/** A living child's heartbeat, once a second for so long. */
function beat({ clock, child }: ReturnType<typeof play>, seconds: number, openAgeMs = 0): void {
  for (let second = 0; second < seconds; second += 1) {
    child().says({ type: "heartbeat", openAgeMs });
    clock.pass(1_000);
  }
}
const kindOf = (call: Promise<unknown>) => call.then(() => "answered", (error: unknown) => (error as HypervisorError).kind);
const uuid = "4f0c2a1e-0000-4000-8000-000000000001";

describe("the driver", () => {
  it("settles each call with its own answer, in whatever order they come", async () => {
    const { driver, host, child } = play();
    const first = driver.call(host, "define", { xml: "one" });
    const second = driver.call(host, "destroy", { uuid });
    const [one, other] = child().calls();
    assert.ok(one?.type === "call" && other?.type === "call");
    child().says({ type: "error", id: other.id, kind: "no-domain", code: 42, message: "gone" });
    child().says({ type: "result", id: one.id, value: uuid });
    assert.equal(await first, uuid);
    await assert.rejects(second, new HypervisorError("no-domain", "gone", 42));
  });

  it("keeps a child that beats, also through a migration of a day", () => {
    const scene = play();
    void kindOf(scene.driver.call(scene.host, "migrate", { uuid, options: { destinationUri: "", destinationXml: "", persistentXml: "" } }));
    beat(scene, 24 * 60 * 60);
    assert.equal(scene.child().killed, false);
    assert.deepEqual(scene.faults, []);
  });

  it("kills a child that holds a call too long: that call timed out, the others are lost", async () => {
    const scene = play();
    const overdue = kindOf(scene.driver.call(scene.host, "list", {}));
    beat(scene, 10);
    const young = kindOf(scene.driver.call(scene.host, "create", { uuid }));
    beat(scene, 7);
    assert.equal(await overdue, "timeout");
    assert.equal(await young, "connection-lost");
    assert.equal(scene.children.length, 2);
    assert.equal(scene.children[0]!.killed, true);
    assert.deepEqual(scene.child().sent, [{ type: "attach", host: scene.host, uri: "test:///default" }]);
  });

  it("kills a child that hangs in opening, or is silent", () => {
    const opening = play();
    beat(opening, 3, 5_001);
    assert.equal(opening.children[0]!.killed, true);
    const silent = play();
    silent.clock.pass(8_500);
    assert.equal(silent.children[0]!.killed, false);
    silent.clock.pass(1_000);
    assert.equal(silent.children[0]!.killed, true);
  });

  it("counts the connections of a host on through the children, so that late events can be told apart", () => {
    const scene = play();
    scene.child().says({ type: "event", host: scene.host, event: { type: "connected" } });
    const dead = scene.child();
    dead.dies("killed by SIGKILL");
    scene.clock.pass(1_000);
    scene.child().says({ type: "event", host: scene.host, event: { type: "connected" } });
    dead.says({ type: "event", host: scene.host, event: { type: "lifecycle", uuid, name: "late", event: "stopped", detail: 0 } });
    assert.deepEqual(scene.events, [
      { type: "connected", generation: 1 },
      { type: "disconnected", reason: "the driver ended: killed by SIGKILL" },
      { type: "connected", generation: 2 },
    ]);
  });

  it("ignores answers of a child that was replaced", async () => {
    const scene = play();
    const call = kindOf(scene.driver.call(scene.host, "list", {}));
    const [message] = scene.child().calls();
    const dead = scene.child();
    dead.dies("exit code 1");
    dead.says({ type: "result", id: message?.type === "call" ? message.id : 0, value: [] });
    assert.equal(await call, "connection-lost");
    assert.equal(await kindOf(scene.driver.call(scene.host, "list", {})), "connection-lost");
  });

  it("ends a console with the child that held it, and keeps its messages apart from the others'", async () => {
    const scene = play();
    const opening = scene.driver.openConsole(scene.host, { uuid, force: false });
    const [call] = scene.child().calls();
    assert.ok(call?.type === "call" && call.operation === "openConsole");
    const { stream: number } = call.arguments as { stream: number };
    scene.child().says({ type: "result", id: call.id, value: undefined });
    const stream = await opening;
    scene.child().says({ type: "stream-data", stream: number + 100, data: Buffer.from("another's") });
    scene.child().says({ type: "stream-data", stream: number, data: Buffer.from("mine") });
    await stream.write(Buffer.from("x"));
    assert.deepEqual(scene.child().sent.at(-1), { type: "stream", stream: number, request: { do: "write", data: Buffer.from("x") } });
    scene.child().dies("killed by SIGKILL");
    const reader = stream.read()[Symbol.asyncIterator]();
    assert.equal(String((await reader.next()).value), "mine");
    await assert.rejects(reader.next(), (error) => error instanceof HypervisorError && error.kind === "connection-lost");
  });

  it("starts children ever more slowly while they die at once", () => {
    const scene = play();
    const startedBySecond: number[] = [];
    for (let second = 0; second < 60; second += 1) {
      const last = scene.child();
      last.dies("exit code 1");
      scene.clock.pass(1_000);
      startedBySecond.push(scene.children.length);
    }
    assert.ok(startedBySecond.at(-1)! < 25, `${startedBySecond.at(-1)} children in a minute`);
    assert.ok(startedBySecond.at(-1)! > startedBySecond.at(-30)!);
  });

  it("closes in order, and in any case within its limit", async () => {
    const scene = play();
    const closed = scene.driver.close();
    assert.deepEqual(scene.child().sent.at(-1), { type: "stop" });
    scene.clock.pass(5_000);
    await closed;
    assert.equal(scene.child().killed, true);
    assert.deepEqual(scene.faults, ["The driver did not stop in time"]);
    scene.clock.pass(60_000);
    assert.equal(scene.children.length, 1);
  });
});
