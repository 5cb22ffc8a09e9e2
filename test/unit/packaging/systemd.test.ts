/** The units are what systemd takes, and as tight as they were made: each line that is given up shows here. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { directive, PROGRAMS, UNITS_DIRECTORY, words } from "./units.ts";
import type { Program } from "./units.ts";

const BIN = join(UNITS_DIRECTORY, "../../bin");
/** In tenths, as systemd-analyze counts them; 0 would be a program that can do nothing. */
const EXPOSURE_MAX: Record<Program, number> = { "api-server": 16, controller: 16, "node-agent": 36 };
const EVERYWHERE: Record<string, string> = {
  Type: "exec", Restart: "always", NoNewPrivileges: "yes", ProtectSystem: "strict", ProtectHome: "yes", PrivateTmp: "yes", ProtectClock: "yes", ProtectHostname: "yes",
  ProtectKernelLogs: "yes", ProtectKernelModules: "yes", ProtectKernelTunables: "yes", ProtectControlGroups: "yes", RestrictRealtime: "yes", RestrictSUIDSGID: "yes",
  LockPersonality: "yes", KeyringMode: "private", AmbientCapabilities: "", SystemCallArchitectures: "native", SystemCallErrorNumber: "EPERM",
  RestrictAddressFamilies: "AF_UNIX AF_INET AF_INET6 AF_NETLINK",
};
const hasSystemd = spawnSync("systemd-analyze", ["--version"]).status === 0;

describe("systemd's units", function () {
  this.timeout(60_000);
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "drover-units-"));
    // Where the commands are on this machine, so that they are found to be commands.
    for (const program of PROGRAMS) {
      const text = readFileSync(join(UNITS_DIRECTORY, `drover-${program}.service`), "utf8");
      writeFileSync(join(directory, `drover-${program}.service`), text.replace("/opt/drover/bin", BIN));
    }
  });
  after(() => rmSync(directory, { recursive: true }));

  for (const program of PROGRAMS) {
    it(`of ${program}: start its command, and confine it as all are`, () => {
      assert.deepEqual(directive(program, "ExecStart"), [`/opt/drover/bin/drover-${program} --config /etc/drover/${program}.yaml`]);
      for (const [name, value] of Object.entries(EVERYWHERE)) assert.deepEqual(directive(program, name), [value], name);
      assert.equal(directive(program, "SystemCallFilter")[0], "@system-service @pkey");
      // V8 would not start.
      assert.deepEqual(directive(program, "MemoryDenyWriteExecute"), []);
    });

    // A machine without systemd cannot tell; what the units say is checked everywhere.
    if (hasSystemd) it(`of ${program}: are taken by systemd, and as tight as it can tell`, () => {
      const unit = join(directory, `drover-${program}.service`);
      const { status, stderr } = spawnSync("systemd-analyze", ["verify", unit], { encoding: "utf8" });
      assert.deepEqual([status, stderr.split("\n").filter((line) => line.includes("drover-"))], [0, []], stderr);
      execFileSync("systemd-analyze", ["security", "--offline=true", `--threshold=${EXPOSURE_MAX[program]}`, unit], { stdio: ["ignore", "ignore", "pipe"] });
    });
  }

  it("give the control plane no capability, no root and no namespace", () => {
    for (const program of ["api-server", "controller"] as const) {
      assert.deepEqual([directive(program, "User"), directive(program, "CapabilityBoundingSet"), directive(program, "RestrictNamespaces")], [["drover"], [""], ["yes"]]);
      assert.ok(directive(program, "SystemCallFilter").includes("~@privileged"));
    }
  });

  it("give the agent what it is known to need, and let its doors live on", () => {
    assert.deepEqual(words("node-agent", "CapabilityBoundingSet"), ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"]);
    assert.deepEqual(directive("node-agent", "KillMode"), ["process"]);
    assert.deepEqual(directive("node-agent", "RestrictNamespaces"), ["user net"]);
    assert.deepEqual(words("node-agent", "ReadWritePaths"), ["-/var/lib/libvirt/images", "-/etc/pki/qemu"]);
    assert.deepEqual(words("node-agent", "DeviceAllow"), ["/dev/kvm", "rw"]);
  });
});
