/**
 * The main job, played with the `drover` command on two real hosts: apply, start, watch the guest count, move it live,
 * see that the count went on, restart, stop, delete. Prints each step with its time and ends with a timeline.
 */
import { join } from "node:path";
import { signalled } from "../lib/config.ts";
import { Fleet } from "../test/lab/fleet.ts";
import { GUEST_TICK, REPOSITORY } from "../test/lab/guest.ts";
import { waitFor } from "../test/lab/process.ts";
import { DEMO_DIRECTORY, DEMO_ENV, DEMO_LAB, describeDemo, recordDemo } from "./demo-files.ts";
import { Story } from "./demo-story.ts";

const MACHINE = join(REPOSITORY, "docs/examples/vm.yaml");
const GUEST_TIMEOUT_MS = 60_000;
const HOLD_MS = 3_600_000;

type Tick = { count: number; boot: string };

/** What the guest last said on its console. */
async function lastTick(fleet: Fleet): Promise<Tick | undefined> {
  const output = await fleet.drover("logs", "demo").catch(() => "");
  const ticks = output.split(/\r?\n/).map((line) => GUEST_TICK.exec(line)).filter((match) => match !== null);
  const last = ticks.at(-1);
  return last && { count: Number(last[1]), boot: last[3]! };
}

const tickWhere = (fleet: Fleet, what: string, holds: (tick: Tick) => boolean) =>
  waitFor(what, async () => {
    const tick = await lastTick(fleet);
    return tick && holds(tick) ? tick : undefined;
  }, { timeoutMs: GUEST_TIMEOUT_MS });

const nodeOf = async (fleet: Fleet) => (await fleet.api.machines.getVirtualMachine({ namespace: "default", name: "demo" })).virtualMachine?.status?.nodeName ?? "";

async function play(fleet: Fleet, story: Story): Promise<void> {
  await story.step("apply docs/examples/vm.yaml", () => fleet.drover("apply", "-f", MACHINE));
  await story.step("start, until Running", () => fleet.drover("start", "demo", "--wait"));
  const from = await nodeOf(fleet);
  const before = await story.step(`console: the guest on ${from} counts`, () => tickWhere(fleet, "the guest to count", ({ count }) => count >= 3));
  story.note(`tick ${before.count}, boot ${before.boot}`);
  await story.step("migrate --wait", () => fleet.drover("migrate", "demo", "--wait"));
  const to = await nodeOf(fleet);
  if (to === from) throw new Error(`The machine is still on ${from}`);
  const after = await story.step(`console: the guest on ${to} counts on`, () => tickWhere(fleet, "the count to go on", ({ count }) => count > before.count));
  if (after.boot !== before.boot) throw new Error(`The guest was booted again: ${before.boot} became ${after.boot}`);
  story.note(`tick ${after.count}, same boot: it never stopped`);
  await story.step("restart, until Running", () => fleet.drover("restart", "demo", "--wait"));
  const again = await story.step("console: a new boot", () => tickWhere(fleet, "the guest to boot again", ({ boot }) => boot !== before.boot));
  story.note(`tick ${again.count}, boot ${again.boot}`);
  await story.step("stop, until Stopped", () => fleet.drover("stop", "demo", "--wait"));
  await story.step("delete", () => fleet.drover("delete", "vm", "demo", "--wait"));
}

async function main(keep: boolean): Promise<void> {
  const story = new Story((line) => process.stdout.write(`${line}\n`));
  const ended = signalled("SIGTERM", "SIGINT", "SIGHUP");
  const interrupted = ended.then((signal) => { throw new Error(`Interrupted by ${signal}`); });
  interrupted.catch(() => undefined);
  const starting = story.step("two libvirt hosts, api-server, controller, two agents", () => Fleet.start(keep ? { onDirectory: recordDemo } : {}));
  await using fleet = await starting;
  await Promise.race([play(fleet, story), interrupted]);
  story.timeline();
  if (!keep) return;
  describeDemo(fleet);
  process.stdout.write(`
Drover is running. Use it:
  . ${DEMO_ENV}
  export PATH=${join(REPOSITORY, "bin")}:$PATH
  drover node list
  drover apply -f docs/examples/vm.yaml && drover start demo --wait && drover logs -f demo
  virsh -c "$DEMO_LIBVIRT_A" list --all
All about it: ${DEMO_LAB}; logs of every program: ${join(fleet.lab.directory, "log")}; end it: npm run demo:down
(${DEMO_DIRECTORY} goes with it)
`);
  // A signal that is waited for does not keep a process alive, and everything else here lets it go.
  const alive = setInterval(() => undefined, HOLD_MS);
  await ended;
  clearInterval(alive);
}

await main(process.argv.includes("--keep"));
process.exit(0);
