/**
 * The agent under the confinement of its systemd unit, as far as it can be had without systemd: the unit's capabilities and
 * no new privileges, and a file system to read only but for the unit's places. It runs a guest from its disks to its end.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { words } from "../unit/packaging/units.ts";
import { Machine } from "./machine.ts";
import { REPOSITORY } from "./guest.ts";
import { waitFor, type Program } from "./process.ts";
import { withFleet } from "./with-fleet.ts";

const CAPABILITIES = words("node-agent", "CapabilityBoundingSet").map((name) => name.replace(/^CAP_/, "").toLowerCase());
/** By number, as the kernel has them. */
const NUMBERS: Record<string, number> = { chown: 0, dac_override: 1, fowner: 3, setgid: 6, setuid: 7, setpcap: 8 };

/** The places stay as they are and everything else becomes read-only; then the rest of the line runs with less of root. */
const CONFINE = `
set -eu
places=$1; shift
for place in $places; do mount --rbind "$place" "$place"; done
cut -d' ' -f5 /proc/self/mountinfo | while read -r point; do
  for place in $places; do case "$point/" in "$place"/*) continue 2;; esac; done
  mount -o remount,bind,ro "$point" 2>/dev/null || true
done
exec setpriv --no-new-privs --inh-caps=-all --bounding-set="$1" -- "$2" "$3" --config "$4"
`;

describe("an agent that is confined as its unit says", () => {
  const fleet = withFleet({ hosts: ["a"] });
  let agent: Program;

  before(async () => {
    await fleet().agent("a").kill();
    const { lab } = fleet();
    const host = lab.host("a");
    const places = [join(host.localMount), lab.poolDirectory, "/etc/pki"].join(" ");
    const bounding = ["-all", ...CAPABILITIES.map((name) => `+${name}`)].join(",");
    const config = join(lab.directory, "drover/agent-a.yaml");
    const command = ["-m", "--propagation", "private", "sh", "-c", CONFINE, "confine", places, bounding, process.execPath, join(REPOSITORY, "node-agent/main.ts"), config];
    agent = await host.spawn("unshare", command, { logFile: fleet().logOf("agent-a") });
    await waitFor("the agent to be confined", () => /^NoNewPrivs:\s+1$/m.test(statusOf(agent.pid)) || undefined);
    await fleet().nodeReady("a");
  });

  it("has these capabilities, no more to gain, and nothing to write to but its own", async () => {
    const status = statusOf(agent.pid);
    const mask = CAPABILITIES.reduce((sum, name) => sum | (1n << BigInt(NUMBERS[name]!)), 0n).toString(16).padStart(16, "0");
    for (const set of ["CapBnd", "CapPrm", "CapEff"]) assert.match(status, new RegExp(`^${set}:\\s+${mask}$`, "m"));
    const mounts = readFileSync(`/proc/${agent.pid}/mountinfo`, "utf8").split("\n").map((line) => line.split(" "));
    const writable = mounts.filter(([, , , , point, options]) => point !== undefined && options!.split(",").includes("rw")).map(([, , , , point]) => point!);
    // ProtectSystem=strict leaves the kernel's own file systems to other directives.
    const own = ["/proc", "/dev", "/sys", fleet().lab.host("a").localMount, fleet().lab.poolDirectory, "/etc/pki"];
    assert.deepEqual(writable.filter((point) => !own.some((place) => point === place || point.startsWith(`${place}/`))), []);
  });

  it("makes the disks of a machine, runs it and takes it down", async () => {
    const machine = await Machine.running(fleet(), "web");
    await machine.tick(({ count }) => count >= 2);
    await fleet().drover("restart", "web", "--wait");
    await machine.tick(({ count }) => count >= 1);
    await machine.delete();
    assert.deepEqual(await fleet().hostsRunning(await machine.uuid().catch(() => "none")), []);
    assert.ok(agent.isAlive());
    assert.doesNotMatch(readFileSync(fleet().logOf("agent-a"), "utf8"), /EPERM|EROFS|cannot confine/i);
  });
});

const statusOf = (pid: number): string => readFileSync(`/proc/${pid}/status`, "utf8");
