/** Takes a party away, the way the cell says, and brings it back. */
import { MigrationOutcome } from "../../../gen/drover/v1/migration.ts";
import { NodeSessionState } from "../../../gen/drover/v1/node.ts";
import { delay, systemClock } from "../../../lib/clock.ts";
import { doorsOpenOn } from "../doors.ts";
import { driverOf, faultsOf } from "../faults.ts";
import { LEASE_MS } from "../fleet.ts";
import type { Fleet } from "../fleet.ts";
import type { LabHost } from "../host.ts";
import type { Machine } from "../machine.ts";
import { identityOf, isAlive, signalPid } from "../proc-table.ts";
import { waitFor } from "../process.ts";
import { stopProcesses } from "./hold.ts";
import type { Held } from "./hold.ts";
import type { Cell, Party } from "./table.ts";
import { guestProcesses } from "./watch.ts";

/** As a supervisor waits before it starts a program again. */
const RESTART_MS = 300;
/** Past the lease and past every budget that the matrix sets. */
const STOPPED_MS = LEASE_MS + 2_000;
/** Past libvirt's own keepalive too, which is 3 s, three times. */
const UNREACHABLE_MS = 14_000;

type Struck = { fleet: Fleet; machine: Machine; held: Held; cell: Cell };

/** Resolves when the party is back. */
export async function strike(struck: Struck): Promise<void> {
  const { cell: { party, fault }, held } = struck;
  const host = party.startsWith("source") || party === "passage" ? held.source : held.target;
  switch (fault) {
    case "kill":
      return party.endsWith("-host") ? losePower(struck, host) : kill(struck, host);
    case "stop":
      return stop(struck, host);
    case "cut":
    case "cut-out":
    case "cut-in": {
      await host.cutLink(({ cut: "both", "cut-out": "from-host", "cut-in": "to-host" } as const)[fault]);
      if (held.brief) await held.release();
      await pause(UNREACHABLE_MS);
      return host.restoreLink();
    }
  }
}

const pause = (ms: number) => delay(systemClock, ms);

async function kill({ fleet, cell: { party }, held }: Struck, host: LabHost): Promise<void> {
  const name = nameOfFault(party, host);
  const fault = faultsOf(fleet, [host.name]).find((candidate) => candidate.name === name);
  if (fault) {
    await fault.strike();
    if (held.brief) await held.release();
    await pause(RESTART_MS);
    if (party.endsWith("-driver")) await held.release(); // An agent that is held forks no other one.
    return fault.mend();
  }
  const pids = processesOf(party, fleet, host, held.uuid).map(identityOf).filter((identity) => identity !== undefined);
  if (pids.length === 0) throw new Error(`There is no ${party} to kill`);
  for (const { pid } of pids) signalPid(pid, "SIGKILL");
  await waitFor(`${party} to be gone`, () => !pids.some(isAlive) || undefined);
  if (held.brief) await held.release();
}

async function stop({ fleet, cell: { party }, held }: Struck, host: LabHost): Promise<void> {
  if (party.endsWith("-host")) {
    await host.freeze();
    if (held.brief && host !== held.source) await held.release();
    await pause(UNREACHABLE_MS);
    return host.thaw();
  }
  const pids = processesOf(party, fleet, host, held.uuid);
  if (pids.length === 0) throw new Error(`There is no ${party} to stop`);
  const letGo = stopProcesses(pids);
  if (held.brief && party !== "source-libvirtd") await held.release();
  await pause(/libvirtd|qemu|door|passage/.test(party) ? UNREACHABLE_MS : STOPPED_MS);
  letGo();
}

function processesOf(party: Party, fleet: Fleet, host: LabHost, uuid: string): number[] {
  switch (party) {
    case "controller": return [fleet.controller.pid];
    case "api-server": return [fleet.apiServer.pid];
    case "source-agent":
    case "target-agent": return [fleet.agent(host.name).pid];
    case "source-driver":
    case "target-driver": return [driverOf(fleet.agent(host.name).pid).pid];
    case "source-libvirtd":
    case "target-libvirtd": return [host.libvirtd.pid()].filter((pid) => pid !== undefined);
    case "source-qemu":
    case "target-qemu": return guestProcesses(host, uuid);
    case "door":
    case "passage": return doorsOpenOn(host, party);
    case "source-host":
    case "target-host":
    case "source-link":
    case "target-link": return [];
  }
}

const nameOfFault = (party: Party, { name }: LabHost): string =>
  party.replace(/^(?:source|target)-agent$/, `agent ${name}`).replace(/^(?:source|target)-driver$/, `driver of agent ${name}`)
    .replace(/^(?:source|target)-libvirtd$/, `libvirtd ${name}`);

/** A host that has the guest is fenced by a person's word, after its silence has shown as a question; then it comes back. */
async function losePower({ fleet, machine, held, cell }: Struck, host: LabHost): Promise<void> {
  await host.powerOff();
  if (held.brief) await held.release();
  await waitFor(`node ${host.name} to be silent`, async () => {
    const { node } = await fleet.api.nodes.getNode({ name: host.name });
    return node!.status!.session!.state === NodeSessionState.SILENT || undefined;
  });
  if ((await machine.node()) === host.name) {
    if (cell.phase === "Running" || cell.phase === "Switchover") await isUnknown(machine, held.migration);
    await fleet.drover("node", "confirm-fenced", host.name, "--reason", "power was cut at the plug", "--yes-i-typed", host.name);
  }
  await host.powerOn();
  await fleet.agent(host.name).start();
}

async function isUnknown(machine: Machine, migration: string): Promise<void> {
  await waitFor("the outcome to be Unknown, and for whom it waits", async () => {
    const { status } = await machine.migration(migration);
    return (status!.outcome === MigrationOutcome.UNKNOWN && status!.waitingFor.length > 0) || undefined;
  });
}
