/** The command as people call it, against a server that knows them: logging in, asking, and what is refused. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { binding, ONCE, startAuthServer, user } from "./auth-server.ts";
import type { AuthServer } from "./auth-server.ts";

const DROVER = join(import.meta.dirname, "../../bin/drover");

describe("drover, known to a server", function () {
  this.timeout(60_000);
  let server: AuthServer;
  let home = "";
  before(async () => {
    server = await startAuthServer();
    await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("alice", { role: "operator", subjects: [user("alice")], namespaces: ["default"] }) });
  });
  beforeEach(() => (home = mkdtempSync(join(tmpdir(), "drover-login-"))));
  afterEach(() => rmSync(home, { recursive: true }));
  after(() => server?.[Symbol.asyncDispose]());

  type Result = { code: number; out: string; errors: string };
  const drover = (args: string[], { input = "", env = {} }: { input?: string; env?: Record<string, string> } = {}) =>
    new Promise<Result>((resolve) => {
      const options = { env: { PATH: process.env["PATH"], HOME: home, ...env }, cwd: home, timeout: 30_000 };
      const child = execFile(DROVER, args, options, (error, out, errors) => resolve({ code: error ? Number(error.code) : 0, out, errors }));
      child.stdin?.end(input);
    });
  const local = (...args: string[]) => drover(["--server", `unix://${server.directory}/api.sock`, ...args]);
  const config = () => join(home, ".config/drover/config.yaml");
  const token = async (name: string, role = "viewer") => (await local("auth", "token", "create", name, "--role", role)).out.trim();

  it("logs in with a token by the authority's pin, and is that token's from then on", async () => {
    const secret = await token("ci");
    const logged = await drover(["login", server.address, "--ca-pin", server.authority.pin, "--name", "main"], { input: `${secret}\n` });
    assert.deepEqual([logged.code, logged.out], [0, `logged in to ${server.address} as token/ci; context "main" is the current one\n`], logged.errors);
    assert.equal((logged.out + logged.errors).includes(secret), false);
    assert.deepEqual([statSync(config()).mode & 0o777, readFileSync(config(), "utf8").includes(secret)], [0o600, true]);
    assert.match((await drover(["auth", "whoami"])).out, /^subject: token\/ci\nrole: user\ngroups: none\nuntil: /);
    assert.match((await drover(["context", "list"])).out, new RegExp(`^\\* +main +${server.address} +token$`, "m"));
    assert.deepEqual((await drover(["auth", "can-i", "list", "vm", "-A"])).out, "yes\n");
    const { code, out, errors } = await drover(["auth", "can-i", "start", "vm", "web"]);
    assert.deepEqual([code, out, errors], [1, "no\n", "error: No role of the caller allows it\n"]);
    assert.equal((await drover(["get", "vm"])).code, 0);
    const denied = await drover(["node", "cordon", "a"]);
    assert.equal(denied.code, 1);
    assert.match(denied.errors, /^error: PermissionDenied: "token\/ci" may not cordon Node\nhint: `drover auth whoami`/);
    assert.match((await local("auth", "token", "list")).out, /^ci +viewer +\(all\) +\d{4}-/m);
    assert.equal((await local("auth", "token", "revoke", "ci")).out, "token ci revoked\n");
    const revoked = await drover(["get", "vm"]);
    assert.match(revoked.errors, /^error: Unauthenticated: .*\nhint: `drover login/);
  });

  it("keeps nothing of a login that failed", async () => {
    const wrong = await drover(["login", server.address, "--ca", server.ca], { input: "dst1.none.x\n" });
    assert.equal(wrong.code, 1);
    assert.match(wrong.errors, /Unauthenticated/);
    assert.throws(() => statSync(config()), { code: "ENOENT" });
    const pin = await drover(["login", server.address, "--ca-pin", "A".repeat(43)], { input: "x\n" });
    assert.match(pin.errors, /does not show the authority of the pin/);
    const secret = await token("untrusting");
    const unknown = await drover(["login", server.address], { input: secret });
    assert.match(unknown.errors, /^error: Unavailable: .*certificate/);
    assert.throws(() => statSync(config()), { code: "ENOENT" });
  });

  it("logs in with a certificate that it made the key of, and shows rights as they are", async () => {
    const made = await local("auth", "certificate", "alice", "--group", "ops,dev", "--out", home);
    assert.equal(made.code, 0, made.errors);
    assert.equal(statSync(join(home, "alice.key")).mode & 0o777, 0o600);
    assert.equal((await local("auth", "certificate", "alice", "--out", home)).code, 1);
    const [cert, key, ca] = ["alice.pem", "alice.key", "alice-ca.pem"] as const;
    const logged = await drover(["login", server.address, "--cert", cert, "--key", key, "--ca", ca]);
    assert.match(logged.out, /as user\/alice; context "127\.0\.0\.1"/, logged.errors);
    assert.match((await drover(["auth", "whoami"])).out, /^subject: user\/alice\nrole: user\ngroups: ops, dev\n/);
    assert.equal((await drover(["auth", "can-i", "migrate", "vm"])).out, "yes\n");
    assert.equal((await drover(["auth", "can-i", "migrate", "vm", "-n", "other"])).code, 1);
    assert.match((await drover(["auth", "token", "create", "x", "--role", "viewer"])).errors, /PermissionDenied/);
    assert.match((await drover(["version"])).out, new RegExp(`server: answers \\(${server.address}`));
  });

  it("applies and shows roles and bindings", async () => {
    const file = join(home, "rights.yaml");
    writeFileSync(file, [
      "apiVersion: drover.dev/v1\nkind: Role\nmetadata: {name: power}\nspec: {rules: [{verbs: [start, stop], kinds: [VirtualMachine]}]}",
      "apiVersion: drover.dev/v1\nkind: RoleBinding\nmetadata: {name: power}\nspec: {role: power, subjects: [{kind: Group, name: ops}, {kind: ServiceToken, name: ci}], namespaces: [default]}",
    ].join("\n---\n"));
    assert.deepEqual(await local("apply", "-f", file), { code: 0, out: "role/power created\nrolebinding/power created\n", errors: "" });
    assert.match((await local("get", "rb")).out, /^power +power +Group\/ops,ServiceToken\/ci +default /m);
    assert.match((await local("get", "roles")).out, /^viewer +2 /m);
    assert.match((await local("delete", "role", "viewer")).errors, /BuiltInRole/);
    assert.equal((await local("get", "role", "power", "-o", "name")).out, "role/power\n");
  });

  it("does not speak in the clear but to this machine, and then without a credential", async () => {
    const far = await drover(["--server", "10.0.0.1:7443", "--insecure", "get", "vm"], { env: { DROVER_TOKEN: "secret" } });
    assert.deepEqual([far.code, far.errors], [2, "error: --insecure is for loopback addresses: 10.0.0.1:7443 is none\n"]);
  });
});
