/** Stop of a booted guest by ACPI, against `virsh shutdown` and `virsh undefine` for a copy of it booted at the same time. */
import { Fleet } from "../test/lab/fleet.ts";
import { GUEST_READY } from "../test/lab/guest.ts";
import { waitForLineIn } from "../test/lab/process.ts";
import { systemClock } from "../lib/clock.ts";
import { copyOf, DirectHost } from "./baseline.ts";
import { ControlPlane } from "./control-plane.ts";
import { figure, ratioOf } from "./figure.ts";
import type { Report } from "./figure.ts";
import { guestMachine } from "./machines.ts";
import type { Settings } from "./settings.ts";
import { quantile } from "./statistics.ts";
import type { Pair } from "./statistics.ts";

const RATIO = 1.15;
const NAME = "bench-stop";
const BOOT_TIMEOUT_MS = 60_000;

export async function benchStop({ pairs, say }: Settings): Promise<Report[]> {
  await using fleet = await Fleet.start({ hosts: ["a"], apiServer: { logLevel: "info" }, controller: { logLevel: "info" } });
  using plane = await ControlPlane.open(fleet.unixServer);
  await using direct = await DirectHost.open(fleet.lab.host("a"));
  await plane.create(guestMachine(NAME));
  const rounds: Pair[] = [];
  const settled: number[] = [];
  for (let index = 0; index < pairs; index++) {
    const { instance } = await plane.start(NAME);
    const name = `libvirt-alone-${index}`;
    const copy = copyOf(await direct.hypervisor.xml(instance.spec!.domain!.firmware!.uuid, "inactive"), { hosts: [direct.host], name });
    await direct.start(copy.xml);
    await waitForLineIn(`${fleet.machineDirectory(direct.host, instance.metadata!.uid)}/console.log`, GUEST_READY, { timeoutMs: BOOT_TIMEOUT_MS });
    await waitForLineIn(`${direct.host.localDirectory}/bench/${name}/console.log`, GUEST_READY, { timeoutMs: BOOT_TIMEOUT_MS });
    const early = index % 2 === 0 ? await plane.stop(NAME, { force: false }) : undefined;
    const theirs = await shutdown(direct, copy.uuid);
    const { endedMs, settledMs } = early ?? (await plane.stop(NAME, { force: false }));
    say(`stop ${index + 1}/${pairs}: ${endedMs.toFixed(0)} ms, virsh ${theirs.toFixed(0)} ms`);
    rounds.push({ ours: endedMs, theirs });
    settled.push(settledMs);
  }
  return [{
    title: "Stop by ACPI of a booted guest: StopVirtualMachine until a watcher sees that the run has ended",
    figures: [
      ratioOf("of the time of virsh shutdown, its end, and undefine", rounds, { atMost: RATIO, baseline: "virsh" }),
      figure("until the run's record is gone too, p50", quantile(settled, 0.5), "ms"),
    ],
  }];
}

/** virsh only asks; that the guest has ended is told by libvirt's event, which spares the baseline all polling. */
async function shutdown(direct: DirectHost, uuid: string): Promise<number> {
  const stopped = direct.next((event) => event.type === "lifecycle" && event.uuid === uuid && event.event === "stopped");
  const beganMs = systemClock.monotonicMs();
  await direct.virsh(`shutdown ${uuid} --mode acpi`);
  await stopped;
  await direct.virsh(`undefine ${uuid}`);
  return systemClock.monotonicMs() - beganMs;
}
