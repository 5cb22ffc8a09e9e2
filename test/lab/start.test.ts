/** `npm start` as an operator meets it: on one host with its own libvirt, which here is a lab's. */
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { hindrancesOf, qemuUserOf } from "../../scripts/start-checks.ts";
import { GUEST_TICK, REPOSITORY } from "./guest.ts";
import type { LabHost } from "./host.ts";
import { Lab } from "./lab.ts";
import { linesOf, run, waitFor } from "./process.ts";
import type { Program } from "./process.ts";

const START_TIMEOUT_MS = 60_000;

describe("npm start", () => {
  let lab: Lab;
  let host: LabHost;
  before(async () => {
    const stamps = ["node_modules/.drover-installed", "node_modules/.package-lock.json"].map(changedMs);
    assert.ok(Math.max(...stamps) >= changedMs("package-lock.json"), "run scripts/setup.sh first: a start would replace the modules of the running tests");
    lab = await Lab.start({ hosts: ["solo"] });
    host = lab.host("solo");
  });
  afterEach(function () {
    if (this.currentTest?.state === "failed") process.stderr.write(`${linesOf(join(lab.directory, "start.log")).slice(-20).join("\n")}\n`);
  });
  after(() => lab?.[Symbol.asyncDispose]());

  /** In a shell that has sourced what the start has written. */
  const drover = (...args: string[]) => host.run("bash", ["-c", '. "$0" && exec drover "$@"', join(lab.directory, "try/env"), ...args], { timeoutMs: START_TIMEOUT_MS });
  const launch = (directory: string): Promise<Program> =>
    host.spawn("bash", [join(REPOSITORY, "scripts/start.sh"), "--directory", directory], { logFile: join(lab.directory, "start.log") });
  /** The programs of Drover that run on the host. */
  const programs = () => host.pids().filter((pid) => commandLine(pid).includes("/main.ts ")).length;
  const ended = () => waitFor("Drover's programs to end", () => programs() === 0 || undefined);
  const ready = () =>
    waitFor("the node to be Ready", async () => {
      const nodes = await drover("node", "list").catch(() => "");
      return /^solo +Ready /m.test(nodes) || undefined;
    }, { timeoutMs: START_TIMEOUT_MS });
  const running = async () => (await host.virsh("list", "--name")).trim();

  it("runs a machine, leaves it running when it ends, and finds it again", async () => {
    const directory = join(lab.directory, "try");
    const first = await launch(directory);
    await ready();
    await drover("apply", "-f", join(REPOSITORY, "docs/examples/vm.yaml"));
    await drover("start", "demo", "--wait");
    const domain = await running();
    assert.match(domain, /^default_demo/);
    await waitFor("the guest to count", async () => GUEST_TICK.test(await drover("logs", "demo")) || undefined, { timeoutMs: START_TIMEOUT_MS });

    first.kill("SIGTERM");
    await first.exited;
    await ended();
    assert.equal(existsSync(join(directory, "api.sock")), false, "the server's socket is gone");
    assert.equal(await running(), domain, "guests run on");

    const second = await launch(directory);
    await ready();
    await waitFor("the machine to be known again", async () => /^demo +Running +True /m.test(await drover("get", "vm")) || undefined);
    await drover("stop", "demo", "--wait");
    assert.equal(await running(), "");
    await drover("delete", "vm", "demo", "--wait");
    assert.equal((await host.virsh("list", "--all", "--name")).trim(), "");

    // Nothing of it outlives it, however it ends, or the next start would find its ports taken.
    assert.equal(programs(), 4, "three programs and the agent's driver");
    second.kill("SIGKILL");
    await second.exited;
    await ended();
  });

  it("refuses a directory that QEMU's user cannot reach, and names one that it can", async () => {
    const configuration = join(host.directory, "etc/libvirt/qemu.conf");
    writeFileSync(configuration, readFileSync(configuration, "utf8").replaceAll(/^(user|group) = .*$/gm, ""));
    await host.libvirtd.kill("SIGTERM");
    await host.libvirtd.start();
    const closed = join(lab.directory, "closed");
    mkdirSync(closed, { mode: 0o700 });
    const program = await launch(join(closed, "try"));
    assert.deepEqual(await program.exited, { code: 2, signal: null }, program.lines().join("\n"));
    assert.match(program.lines().join("\n"), new RegExp(`start: QEMU runs as user \\d+ here, who cannot reach ${closed}/try/pool; .*npm start -- --directory /`));
    assert.equal(programs(), 0);
  });

  it("says when libvirt does not answer", async () => {
    await host.libvirtd.kill("SIGTERM");
    const program = await launch(join(lab.directory, "try"));
    assert.deepEqual(await program.exited, { code: 2, signal: null }, program.lines().join("\n"));
    assert.match(program.lines().join("\n"), /start: libvirt does not answer at qemu:\/\/\/system; start it/);
  });

  it("warns of a KVM that QEMU's user cannot open, and only of that", async () => {
    const directory = join(lab.directory, "devices");
    mkdirSync(directory);
    chmodSync(lab.directory, 0o755);
    const device = join(directory, "kvm");
    const nobody = { uid: "65534", gid: "65534" };
    const check = (user = nobody) => hindrancesOf(user, { pool: directory, device });
    assert.deepEqual(await check(), [], "no device, nothing to say");
    writeFileSync(device, "");
    chmodSync(device, 0o600);
    const [warning, ...others] = await check();
    assert.match(warning!.message, new RegExp(`cannot open ${device}: .*chgrp 65534 ${device} && chmod 660 ${device}$`));
    assert.deepEqual([warning!.isFatal, others], [false, []]);
    assert.deepEqual(await check({ uid: "0", gid: "0" }), []);
    await run("sh", ["-c", warning!.message.slice(warning!.message.indexOf("chgrp"))]);
    assert.deepEqual(await check(), [], "what it advises helps");
    assert.deepEqual((await hindrancesOf({ uid: "12345", gid: "12345" }, { pool: "/root", device: dirname("/nowhere/kvm") })).map(({ isFatal }) => isFatal), [true]);
  });

  it("knows QEMU's user by libvirt's own word", () => {
    const model = (name: string, label: string) => `<secmodel><model>${name}</model><doi>0</doi>\n${label}</secmodel>\n`;
    const label = "<baselabel type='kvm'>+64055:+107</baselabel>";
    assert.deepEqual(qemuUserOf(`${model("none", "")}${model("dac", label)}`), { uid: "64055", gid: "107" });
    assert.equal(qemuUserOf(model("none", "")), undefined);
  });
});

const changedMs = (file: string) => statSync(join(REPOSITORY, file), { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** Empty when it has ended. */
function commandLine(pid: number): string {
  const path = `/proc/${pid}/cmdline`;
  return existsSync(path) ? readFileSync(path, "utf8").replaceAll("\0", " ") : "";
}
