/** The command as people call it, against a real api-server that keeps its records in memory. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const ROOT = join(import.meta.dirname, "../../..");
const EXAMPLE = join(ROOT, "docs/examples/vm.yaml");

type Result = { code: number; out: string; errors: string };

describe("drover", function () {
  this.timeout(60_000);
  let directory = "";
  let server: ChildProcess;
  let socket = "";

  const drover = (args: string[], input = ""): Promise<Result> =>
    new Promise((resolve) => {
      const env = { ...process.env, DROVER_SERVER: `unix://${socket}` };
      const child = execFile(join(ROOT, "bin/drover"), args, { env, timeout: 30_000 }, (error, out, errors) =>
        resolve({ code: error ? Number(error.code) : 0, out, errors }));
      child.stdin?.end(input);
    });

  const startServer = async () => {
    server = spawn(join(ROOT, "bin/drover-api-server"), ["--config", join(directory, "api.yaml")], { stdio: "ignore" });
    for (let waited = 0; !existsSync(socket) && waited < 200; waited += 1) await sleep(50);
  };

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "drover-cli-"));
    socket = join(directory, "api.sock");
    writeFileSync(join(directory, "api.yaml"), `store: "memory:"\nlisten: {unix: ${socket}}\nlogLevel: warn\n`);
    await startServer();
  });

  after(async () => {
    server.kill("SIGKILL");
    await once(server, "exit");
    rmSync(directory, { recursive: true });
  });

  it("applies, shows, powers and deletes a machine", async () => {
    assert.deepEqual(await drover(["apply", "-f", EXAMPLE]), { code: 0, out: "virtualmachine/demo created\n", errors: "" });
    assert.deepEqual(await drover(["apply", "-f", EXAMPLE]), { code: 0, out: "virtualmachine/demo unchanged\n", errors: "" });
    assert.match((await drover(["get", "vm"])).out, /^NAME +STATUS[^\n]*\ndemo /);
    const shown = await drover(["get", "vm", "demo", "-o", "yaml"]);
    assert.match((await drover(["apply", "-f", "-"], shown.out)).out, /demo unchanged/);
    assert.match((await drover(["start", "demo"])).out, /virtualmachine\/demo will be started/);
    assert.match((await drover(["start", "demo", "-o", "json"])).out, /"intent": "Run"/);
    assert.match((await drover(["explain", "vm", "demo"])).out, /1 request[^]*5 libvirt/);
    assert.match((await drover(["describe", "vm", "demo"])).out, /kind: VirtualMachine[^]*events: /);
    assert.match((await drover(["stop", "demo", "--force"])).out, /will be stopped/);
    assert.match((await drover(["delete", "-f", EXAMPLE])).out, /virtualmachine\/demo deleted/);
  });

  it("waits, and says why what it waited for did not come", async () => {
    const manifest = "apiVersion: drover.dev/v1\nkind: VirtualMachine\nmetadata: {name: slow}\nspec: {runStrategy: Manual, template: {spec: {domain: {memory: {guest: 64Mi}}}}}\n";
    assert.equal((await drover(["apply", "-f", "-"], manifest)).code, 0);
    const { code, errors } = await drover(["start", "slow", "--wait", "--timeout", "500ms"]);
    assert.equal(code, 1);
    assert.match(errors, /timed out after 0\.5 s waiting for virtualmachine\/slow to run: controller: /);
  });

  it("refuses with every fault and its line, and exits 1; calls that it does not understand exit 2", async () => {
    const bad = "apiVersion: drover.dev/v1\nkind: VirtualMachine\nmetadata: {name: Bad_Name}\nspec:\n  runStrategy: Always\n  template:\n    spec:\n      domain:\n        memory: {guest: lots}\n";
    const refused = await drover(["apply", "-f", "-"], bad);
    assert.equal(refused.code, 1);
    assert.match(refused.errors, /standard input\):3:18: metadata\.name: /);
    assert.match(refused.errors, /standard input\):9:25: spec\.template\.spec\.domain\.memory\.guest: /);
    assert.deepEqual((await drover(["apply", "-f", "-"], bad.replace("runStrategy", "runStrategie"))).code, 1);
    for (const wrong of [["nonsense"], ["get"], ["get", "pods"], ["get", "vm", "-o", "xml"], ["stop", "a", "--grace-period", "x"], ["node", "confirm-fenced", "a"], []]) {
      assert.equal((await drover(wrong)).code, 2, wrong.join(" "));
    }
    assert.match((await drover(["migrate", "slow"])).errors, /FailedPrecondition[^]*NotRunning/);
    assert.match((await drover(["get", "vm", "nobody"])).errors, /NotFound/);
  });

  it("offers a change again until the server is back, and names an address that does not answer", async () => {
    server.kill("SIGKILL");
    await once(server, "exit");
    rmSync(socket, { force: true });
    const unreachable = await drover(["get", "vm"]);
    assert.equal(unreachable.code, 1);
    assert.match(unreachable.errors, /hint: the server at unix:.*\(from DROVER_SERVER\) cannot be reached/);
    const applying = drover(["apply", "-f", "-"], "apiVersion: drover.dev/v1\nkind: Namespace\nmetadata: {name: later}\n");
    const deleting = drover(["delete", "ns", "nothing"]);
    await sleep(300);
    await startServer();
    assert.match((await deleting).errors, /NotFound/);
    assert.deepEqual(await applying, { code: 0, out: "namespace/later created\n", errors: "" });
  });
});
