/** The parts of a fleet that can be killed, each with how it comes back. */
import { readFileSync } from "node:fs";
import type { Fleet } from "./fleet.ts";
import { childrenOf, identityOf, isAlive, signalProcess } from "./proc-table.ts";
import { waitFor, waitForSocket } from "./process.ts";

export type Fault = {
  name: string;
  /** Kills the part, at once and without a word. */
  strike(): Promise<void>;
  /** Brings it back; resolves when it listens again. */
  mend(): Promise<void>;
};

/** The agent's child that speaks to libvirt. */
export function driverOf(agentPid: number) {
  const found = childrenOf(agentPid).find((pid) => readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("driver/main"));
  const identity = found === undefined ? undefined : identityOf(found);
  if (!identity) throw new Error(`Agent ${agentPid} has no driver`);
  return identity;
}

/** `on` names the hosts whose parts are struck. */
export function faultsOf(fleet: Fleet, on: readonly string[]): Fault[] {
  const program = (name: "apiServer" | "controller"): Fault => ({
    name: fleet[name].name,
    strike: () => fleet[name].kill(),
    async mend() {
      await fleet[name].start();
      await waitForSocket(fleet.unixServer.slice("unix://".length));
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
        const driver = driverOf(fleet.agent(host).pid);
        signalProcess(driver, "SIGKILL");
        await waitFor("the driver to be gone", () => !isAlive(driver) || undefined);
      },
      async mend() {
        await waitFor("the agent to fork another driver", () => {
          try {
            return driverOf(fleet.agent(host).pid);
          } catch {
            return undefined;
          }
        });
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
