/** Brings a migration into a phase and keeps it there, without touching more than a test outside of Drover can. */
import { ClientError, Status } from "nice-grpc";
import { MigrationPhase } from "../../../gen/drover/v1/migration.ts";
import { delay, systemClock } from "../../../lib/clock.ts";
import type { Fleet } from "../fleet.ts";
import type { LabHost } from "../host.ts";
import type { Machine, MigrateOptions } from "../machine.ts";
import { leadersOf, processorTicksOf, signalPid } from "../proc-table.ts";
import { run, waitFor } from "../process.ts";
import { guestProcesses } from "./watch.ts";
import type { Phase } from "./table.ts";

/** A guest of 128 MiB is under way for half a minute. */
const SLOW_MIBPS = 2;
const FAST_MIBPS = 1_000;
/** A second or two from the end, at a speed that does not outrun whoever asks. */
const BRISK_MIBPS = 16;
const LITTLE_MIB = 24;
/** A guest that counts and writes uses more of a processor than this in any such time, and so does a transfer. */
const STILL_MS = 1_000;
const STILL_TICKS_MAX = 1;
const COMMAND_TIMEOUT_MS = 3_000;

export type Held = {
  migration: string;
  source: LabHost;
  target: LabHost;
  uuid: string;
  /** Lets the migration go on, where it still can. */
  release(): Promise<void>;
  /** What holds it would be a loss of its own before long: released as soon as the party is gone. */
  brief?: true;
};

export async function hold(fleet: Fleet, machine: Machine, phase: Phase): Promise<Held> {
  const [source, target] = ((await machine.node()) === "a" ? ["a", "b"] : ["b", "a"]).map((name) => fleet.lab.host(name)) as [LabHost, LabHost];
  const uuid = await machine.uuid();
  const held = { source, target, uuid };
  switch (phase) {
    case "Scheduling": {
      const migration = await ask(machine, { nodeSelector: { fits: "nobody" } });
      await machine.migrationIn(migration, MigrationPhase.SCHEDULING);
      return { ...held, migration, release: async () => undefined };
    }
    case "PreparingTarget":
    case "TargetReady": {
      const release = stopAgent(fleet, phase === "PreparingTarget" ? target : source);
      try {
        const migration = await ask(machine, { to: target.name });
        await machine.migrationIn(migration, phase === "PreparingTarget" ? MigrationPhase.PREPARING_TARGET : MigrationPhase.TARGET_READY);
        return { ...held, migration, release };
      } catch (error) {
        await release();
        throw error;
      }
    }
    case "Running":
      return { ...held, migration: await underWay(fleet, machine, held), release: () => hurry(held) };
    case "Finalizing": {
      const migration = await nearlyThere(fleet, machine, held);
      const release = stopAgent(fleet, source); // Not long before the handoff: its silence would end the phase.
      await hurry(held);
      await machine.migrationIn(migration, MigrationPhase.FINALIZING);
      return { ...held, migration, release };
    }
    case "Switchover":
      return { ...held, ...(await inSwitchover(fleet, machine, held)), brief: true };
    case "Pending":
      throw new Error(`Nothing holds a migration in ${phase}`);
  }
}

/** A node that has just come back has not said yet what it can take. */
function ask(machine: Machine, options: MigrateOptions): Promise<string> {
  return waitFor("the machine to be allowed to move", () => machine.migrate(options).catch((error: Error) => {
    if (error instanceof ClientError && error.code === Status.FAILED_PRECONDITION) return undefined;
    throw error;
  }));
}

/** Its nsenter stops with it, and would reap nothing if it were not let go as well. */
export function stopProcesses(pids: readonly number[]): () => void {
  for (const pid of pids) signalPid(pid, "SIGSTOP");
  return () => {
    for (const pid of [...pids, ...leadersOf(pids)]) signalPid(pid, "SIGCONT");
  };
}

function stopAgent(fleet: Fleet, host: LabHost): () => Promise<void> {
  const letGo = stopProcesses([fleet.agent(host.name).pid]);
  return async () => letGo();
}

/**
 * libvirt has QEMU stop the guest and wait, when memory has been sent, until libvirt says that it may switch over. A libvirt
 * that stands still says nothing; the other one gives it up after some seconds.
 */
async function inSwitchover(fleet: Fleet, machine: Machine, held: Pick<Held, "source" | "target" | "uuid">): Promise<Pick<Held, "migration" | "release">> {
  const migration = await nearlyThere(fleet, machine, held);
  held.source.libvirtd.stop();
  const release = async (): Promise<void> => {
    if (held.source.isOn() && held.source.libvirtd.pid() !== undefined) held.source.libvirtd.cont();
  };
  try {
    await waitFor("the guest to stand still", () => standsStill(guestProcesses(held.source, held.uuid)[0]));
    return { migration, release };
  } catch (error) {
    await release();
    throw error;
  }
}

async function nearlyThere(fleet: Fleet, machine: Machine, held: Pick<Held, "source" | "target" | "uuid">): Promise<string> {
  const migration = await underWay(fleet, machine, held);
  await hurry(held, BRISK_MIBPS);
  await waitFor("little to be left", async () => (await remainingMiB(held)) < LITTLE_MIB || undefined);
  return migration;
}

/** By the kernel: QEMU's own word would have to be asked through libvirt. */
async function standsStill(qemu: number | undefined): Promise<true | undefined> {
  const before = processorTicksOf(qemu ?? 0);
  await delay(systemClock, STILL_MS);
  const after = processorTicksOf(qemu ?? 0);
  if (before === undefined || after === undefined) throw new Error("The guest left before it could be held");
  return after - before <= STILL_TICKS_MAX || undefined;
}

async function remainingMiB({ source, uuid }: Pick<Held, "source" | "uuid">): Promise<number> {
  const match = /Memory remaining:\s+([\d.]+) (\w+)/.exec(await source.virsh("domjobinfo", uuid));
  if (!match) throw new Error("The transfer was over before it could be held");
  return Number(match[1]) * ({ GiB: 1_024, MiB: 1 }[match[2]!] ?? 0);
}

/** The record is Running before libvirt is called; the guest is on its way when both hosts have a QEMU of it. */
async function underWay(fleet: Fleet, machine: Machine, { target, uuid }: { target: LabHost; uuid: string }): Promise<string> {
  const migration = await ask(machine, { to: target.name, bandwidthMiBps: SLOW_MIBPS });
  await machine.migrationIn(migration, MigrationPhase.RUNNING);
  await waitFor("the guest to be on its way", async () => (guestProcesses(target, uuid).length > 0 && (await jobRuns(fleet, machine))) || undefined);
  return migration;
}

async function jobRuns(fleet: Fleet, machine: Machine): Promise<boolean> {
  const info = await fleet.lab.host(await machine.node()).virsh("domjobinfo", await machine.uuid());
  return /Memory processed:\s+[1-9]/.test(info);
}

/** A job that has ended, or a libvirt that is not there, has nothing left to hurry. */
async function hurry({ source, uuid }: Pick<Held, "source" | "uuid">, speedMibps = FAST_MIBPS): Promise<void> {
  await run("virsh", ["-c", source.uri, "migrate-setspeed", uuid, String(speedMibps)], { timeoutMs: COMMAND_TIMEOUT_MS }).catch(() => undefined);
}
