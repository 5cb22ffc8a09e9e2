/** `start`, `stop`, `restart`: the power verbs, and waiting for what they bring about. */
import { VirtualMachineServiceDefinition } from "../../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { command, count, duration, toggle } from "../command.ts";
import { UsageError } from "../failure.ts";
import { virtualMachines } from "../kinds/virtual-machine.ts";
import { running, stopped } from "../machine-state.ts";
import { ObjectClient } from "../objects.ts";
import type { Key } from "../objects.ts";
import { printDone } from "../print.ts";
import { mutate } from "../session.ts";
import type { Session } from "../session.ts";
import { waitFor } from "../wait.ts";
import type { Verdict } from "../wait.ts";
import { explainMachine, heldUp } from "./explain.ts";

export const WAIT_MS = 300_000;
const GRACE_MAX_SECONDS = 86_400;

export const machinesOf = ({ connection }: Session) => connection.client(VirtualMachineServiceDefinition);

/** Why a machine is not where it should be, in one sentence; empty when that cannot be said. */
export async function whyMachine(session: Session, key: Key): Promise<string> {
  try {
    return heldUp(await explainMachine(session, key));
  } catch {
    return ""; // The explanation is an addition: that it fails must not hide what is being reported.
  }
}

const waiting = {
  wait: toggle("--wait", "return when it is so"),
  timeout: duration("--timeout <duration>", "how long to wait", WAIT_MS),
};
const ending = {
  grace: count("--grace-period <seconds>", "time for the guest to shut down", GRACE_MAX_SECONDS),
  force: toggle("--force", "pull the plug at once"),
};

export const start = command({
  path: ["start"],
  summary: "Start machines",
  args: ["<names...>"],
  flags: waiting,
  async run({ args, flags, session }) {
    await forEach(session, args, async (key) => {
      const { virtualMachine } = await mutate(session, (requestId, signal) =>
        machinesOf(session).startVirtualMachine({ ...key, requestId, validateOnly: false }, { signal }));
      await finish(session, virtualMachine!, { ...flags, done: "started", what: "to run", judge: () => running() });
    });
  },
});

export const stop = command({
  path: ["stop"],
  summary: "Stop machines",
  args: ["<names...>"],
  flags: { ...waiting, ...ending },
  async run({ args, flags, session }) {
    await forEach(session, args, async (key) => {
      const { virtualMachine } = await mutate(session, (requestId, signal) =>
        machinesOf(session).stopVirtualMachine({ ...key, ...endOf(flags), requestId, validateOnly: false }, { signal }));
      await finish(session, virtualMachine!, { ...flags, done: "stopped", what: "to stop", judge: () => stopped });
    });
  },
});

export const restart = command({
  path: ["restart"],
  summary: "End the present run of machines and begin another",
  args: ["<names...>"],
  flags: { ...waiting, ...ending },
  async run({ args, flags, session }) {
    await forEach(session, args, async (key) => {
      const { virtualMachine } = await mutate(session, (requestId, signal) =>
        machinesOf(session).restartVirtualMachine({ ...key, ...endOf(flags), requestId, validateOnly: false }, { signal }));
      const judge = ({ status }: VirtualMachine) => running(status?.power?.restartUid);
      await finish(session, virtualMachine!, { ...flags, done: "restarted", what: "to run again", judge });
    });
  },
});

function endOf({ grace, force }: { grace: number | undefined; force: boolean }): { gracePeriodSeconds: number | undefined; force: boolean } {
  if (force && grace !== undefined && grace > 0) throw new UsageError("--force and --grace-period exclude each other");
  return { gracePeriodSeconds: grace, force };
}

/** One after the other; the first failure ends it. */
export async function forEach({ namespace }: Session, names: readonly string[], run: (key: Key) => Promise<void>): Promise<void> {
  for (const name of names) await run({ namespace, name: name.replace(/^(vm|virtualmachine)\//, "") });
}

type Finish = {
  wait: boolean;
  timeout: number;
  /** What happened, when it was waited for. */
  done: string;
  what: string;
  judge: (answer: VirtualMachine) => (vm: VirtualMachine | undefined) => Verdict;
};

async function finish(session: Session, answer: VirtualMachine, { wait, timeout, done, what, judge }: Finish): Promise<void> {
  const { namespace, name } = answer.metadata!;
  const machines = new ObjectClient(virtualMachines, session);
  const key = { namespace, name };
  if (wait) await waitFor(session, machines, key, { timeoutMs: timeout, what, judge: judge(answer), explain: () => whyMachine(session, key) });
  const structured = session.out.format === "json" || session.out.format === "yaml";
  const object = wait && structured ? await machines.get(key) : answer;
  return printDone(session.out, { kind: virtualMachines, object, said: wait ? done : `will be ${done}` });
}
