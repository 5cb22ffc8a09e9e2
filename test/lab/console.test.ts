/** A guest's serial output as `drover logs` shows it: whole, once, and wherever the guest goes. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Fleet } from "./fleet.ts";
import { GUEST_TICK, REPOSITORY } from "./guest.ts";
import { Machine } from "./machine.ts";
import { linesOf, Program, waitFor } from "./process.ts";
import { withFleet } from "./with-fleet.ts";

const FOLLOW_TIMEOUT_MS = 60_000;

/** `drover logs -f` as a process: what it prints and what it remarks, apart. */
class Follower {
  readonly program: Program;
  readonly #errorFile: string;
  private constructor(program: Program, errorFile: string) {
    this.program = program;
    this.#errorFile = errorFile;
  }

  static async start(fleet: Fleet, name: string, ...flags: string[]): Promise<Follower> {
    const logFile = fleet.logOf(`follow-${name}`);
    const errorFile = `${logFile}.err`;
    const program = await Program.start({
      command: "sh",
      args: ["-c", 'exec "$0" "$@" 2>>"$REMARKS"', join(REPOSITORY, "bin/drover"), "logs", "-f", name, ...flags],
      env: { ...fleet.environment, REMARKS: errorFile },
      logFile,
    });
    return new Follower(program, errorFile);
  }

  ticks(): { count: number; boot: string }[] {
    return this.program.lines().map((line) => GUEST_TICK.exec(line)).filter((match) => match !== null)
      .map(([, count, , boot]) => ({ count: Number(count), boot: boot! }));
  }

  remarks(): string {
    return linesOf(this.#errorFile).join("\n");
  }

  /** The newest count, once it is beyond `count`. */
  beyond(count: number): Promise<number> {
    return waitFor(`${this.program.logFile} to count beyond ${count}`, () => {
      const last = this.ticks().at(-1)?.count ?? 0;
      return last > count ? last : undefined;
    }, { timeoutMs: FOLLOW_TIMEOUT_MS });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }
}

const countsOf = (ticks: { count: number }[]) => ticks.map(({ count }) => count);

/** In order, none twice. */
function assertOnce(counts: number[]): void {
  assert.deepEqual(counts, [...new Set(counts)].sort((a, b) => a - b), "no line is repeated or out of order");
}

describe("a guest's console", () => {
  const fleet = withFleet();

  it("is followed over live moves there and back, every line once and none missing", async () => {
    const machine = await Machine.running(fleet(), "mover");
    await using follower = await Follower.start(fleet(), "mover");
    const first = await machine.node();
    let seen = await follower.beyond(2);
    for (let move = 1; move <= 2; move += 1) {
      await fleet().drover("migrate", "mover", "--wait");
      seen = await follower.beyond(seen + 2);
    }
    assert.equal(await machine.node(), first, "there and back");
    const counts = countsOf(follower.ticks());
    assertOnce(counts);
    const missing = Array.from({ length: seen - counts[0]! + 1 }, (_, i) => counts[0]! + i).filter((count) => !counts.includes(count));
    assert.deepEqual(missing, [], `no line is missing; remarks: ${follower.remarks()}`);
    assert.equal(new Set(follower.ticks().map(({ boot }) => boot)).size, 1);
    assert.match(follower.remarks(), /moved; going on at its new node/);
    await machine.delete();
  });

  it("is shown up to now by logs, which then ends, and only its end with --tail-bytes", async () => {
    const machine = await Machine.running(fleet(), "printed");
    const whole = await fleet().drover("logs", "printed");
    assert.match(whole, GUEST_TICK);
    const end = await fleet().drover("logs", "printed", "--tail-bytes", "20");
    assert.ok(Buffer.byteLength(end) <= 20 && end.length > 0, JSON.stringify(end));
    assert.match((await fleet().refused("logs", "printed", "--tail-bytes", "9999999")).stderr, /from 0 to 1048576/);
    await machine.delete();
    assert.match((await fleet().refused("logs", "printed")).stderr, /has no run now/);
  });

  it("goes on after the agent was killed, says that output may be missing, and repeats nothing", async () => {
    const machine = await Machine.running(fleet(), "survivor");
    await using follower = await Follower.start(fleet(), "survivor");
    const seen = await follower.beyond(1);
    await fleet().agent(await machine.node()).restart();
    const later = await follower.beyond(seen + 3);
    assert.ok(later > seen);
    assertOnce(countsOf(follower.ticks()));
    assert.match(follower.remarks(), /output may be missing/);
    assert.ok(follower.program.isAlive());
    await machine.delete();
  });

  it("begins anew with each run: a follower of the old run ends, and logs shows the new one alone", async () => {
    const machine = await Machine.running(fleet(), "again");
    await using follower = await Follower.start(fleet(), "again");
    await follower.beyond(1);
    const [before] = follower.ticks();
    await fleet().drover("restart", "again", "--force", "--wait");
    await waitFor("the follower to end by itself", () => !follower.program.isAlive() || undefined);
    assert.deepEqual(await follower.program.exited, { code: 0, signal: null }, follower.remarks());
    const tick = await machine.tick(({ boot }) => boot !== before!.boot);
    assert.ok(tick.count >= 1);
    // Its disk may speak of the run before; its console may not.
    const shown = (await fleet().drover("logs", "again")).split(/\r?\n/).filter((line) => GUEST_TICK.test(line));
    assert.ok(shown.length > 0 && shown.every((line) => !line.includes(before!.boot)), shown.join("\n"));
    await machine.delete();
  });
});
