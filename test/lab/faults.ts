/** The parts of a fleet that can be killed, each with how it comes back. */
import { readFileSync } from "node:fs";
import { NodeSessionState } from "../../gen/drover/v1/node.ts";
import { DomainState } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { Fleet } from "./fleet.ts";
import type { Machine } from "./machine.ts";
import { childrenOf, identityOf, isAlive, signalProcess } from "./proc-table.ts";
import { waitFor } from "./process.ts";

export type Fault = {
  name: string;
  /** Kills the part, at once and without a word. */
  strike(): Promise<void>;
  /** Brings it back; resolves when it listens again. */
  mend(): Promise<void>;
};

/** How soon the record must be the truth again once a killed part is back. */
export const TRUTH_WITHIN_MS = 10_000;

/** Every node is connected to the server and to its libvirt, and the machine runs where it is recorded, by libvirt's word. */
export async function recordIsTrue(fleet: Fleet, machine: Machine): Promise<void> {
  await waitFor("the record to be the truth", async () => {
    const nodes = await Promise.all(fleet.lab.hosts().map(({ name }) => fleet.api.nodes.getNode({ name }).then((answer) => answer.node, () => undefined)));
    const connected = nodes.every((node) => node?.status?.session?.state === NodeSessionState.CONNECTED && node.status.report?.hypervisorConnected);
    const { spec, status } = (await machine.instance()) ?? {};
    if (!connected || status?.ownerReport?.state !== DomainState.RUNNING) return undefined;
    return (await fleet.hostsRunning(spec!.domain!.firmware!.uuid)).includes(status.nodeName) || undefined;
  }, { timeoutMs: TRUTH_WITHIN_MS });
}

/** The agent's child that speaks to libvirt. */
export function driverOf(agentPid: number) {
  const found = childrenOf(agentPid).find((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("driver/main"));
  const identity = found === undefined ? undefined : identityOf(found);
  if (!identity) throw new Error(`Agent ${agentPid} has no driver`);
  return identity;
}

/** An agent that has just come back has still to fork one, though the record may be true by then. */
function driverOfSoon(agent: { pid: number }) {
  return waitFor("the agent to have a driver", () => {
    try {
      return driverOf(agent.pid);
    } catch {
      return undefined;
    }
  });
}

/** `on` names the hosts whose parts are struck. */
export function faultsOf(fleet: Fleet, on: readonly string[]): Fault[] {
  const program = (name: "apiServer" | "controller"): Fault => ({
    name: fleet[name].name,
    strike: () => fleet[name].kill(),
    async mend() {
      await fleet[name].start();
      await fleet.reconnect();
    },
  });
  const ofHost = (host: string): Fault[] => [
    {
      name: `agent ${host}`,
      strike: () => fleet.agent(host).kill(),
      mend: () => fleet.agent(host).start(),
    },
    {
      name: `driver of agent ${host}`,
      async strike() {
        const driver = await driverOfSoon(fleet.agent(host));
        signalProcess(driver, "SIGKILL");
        await waitFor("the driver to be gone", () => !isAlive(driver) || undefined);
      },
      async mend() {
        await driverOfSoon(fleet.agent(host));
      },
    },
    {
      name: `libvirtd ${host}`,
      strike: () => fleet.lab.host(host).libvirtd.kill(),
      mend: () => fleet.lab.host(host).libvirtd.start(),
    },
  ];
  return [program("apiServer"), program("controller"), ...on.flatMap(ofHost)];
}
