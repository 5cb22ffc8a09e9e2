/** Which server is meant, and which credential goes to it: never one to another server, never one in the clear. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readUserFile, writeContext, writeCurrent } from "../../../cli/config-file.ts";
import { findContext } from "../../../cli/context.ts";
import { UsageError } from "../../../cli/failure.ts";

const FILE = `# mine
server: old.example.org:7443
namespace: lab
current-context: prod
contexts:
  prod: {server: "prod.example.org:7443", ca: /etc/ca.pem, token: prod-token, namespace: shop}
  cert: {server: "cert.example.org:7443", ca: ca.pem, cert: me.pem, key: me.key}
  local: {server: "unix:///run/x.sock", token: never}
`;

describe("the server and the credential", () => {
  let home = "";
  const path = () => join(home, "drover/config.yaml");
  const environment = (more: Record<string, string> = {}) => ({ XDG_CONFIG_HOME: home, ...more });
  const write = (content: string, mode = 0o600) => {
    mkdirSync(join(home, "drover"), { recursive: true });
    writeFileSync(path(), content, { mode });
  };
  beforeEach(() => (home = mkdtempSync(join(tmpdir(), "drover-context-"))));
  afterEach(() => rmSync(home, { recursive: true }));

  it("come from the flag, then the environment, then the context, then the old key, then the usual place, and say from where", async () => {
    const bare = { HOME: "/nonexistent" };
    assert.deepEqual((await findContext({ server: "a:1", namespace: "x" }, { ...bare, DROVER_SERVER: "b:2" })).server, { address: "a:1", from: "--server" });
    assert.deepEqual((await findContext({}, { ...bare, DROVER_SERVER: "unix:///b" })).server, { address: "unix:///b", from: "DROVER_SERVER" });
    assert.equal((await findContext({}, {})).server.address, "unix:///run/drover/api.sock");
    write(FILE);
    assert.deepEqual(await findContext({}, environment()), {
      server: { address: "prod.example.org:7443", from: 'context "prod"' }, namespace: "shop", access: { tls: { ca: "/etc/ca.pem" }, token: "prod-token" },
    });
    assert.equal((await findContext({ context: "cert" }, environment({ DROVER_CONTEXT: "local" }))).server.address, "cert.example.org:7443");
    assert.equal((await findContext({}, environment({ DROVER_CONTEXT: "local" }))).server.address, "unix:///run/x.sock");
    write("server: old.example.org:7443\nnamespace: lab\n");
    const { server, namespace, access } = await findContext({}, environment());
    assert.deepEqual([server, namespace, access], [{ address: "old.example.org:7443", from: path() }, "lab", { tls: {} }]);
    await assert.rejects(findContext({ server: "http://x" }, {}), UsageError);
    await assert.rejects(findContext({ context: "none" }, environment()), UsageError);
  });

  it("go together: no other server gets what a context holds", async () => {
    write(FILE);
    assert.deepEqual((await findContext({ server: "evil.example.org:7443" }, environment())).access, { tls: {} });
    assert.deepEqual((await findContext({}, environment({ DROVER_SERVER: "evil.example.org:7443" }))).access, { tls: {} });
    assert.deepEqual((await findContext({ server: "evil.example.org:7443", context: "prod" }, environment())).access, { tls: {} });
    assert.equal((await findContext({ server: "prod.example.org:7443" }, environment())).access.token, "prod-token");
  });

  it("never go in the clear", async () => {
    write(FILE);
    assert.deepEqual((await findContext({ context: "local" }, environment({ DROVER_TOKEN: "t" }))).access, {});
    assert.deepEqual((await findContext({ server: "127.0.0.1:1", insecure: true }, environment({ DROVER_TOKEN: "t" }))).access, {});
    assert.deepEqual((await findContext({ server: "[::1]:1", insecure: true }, {})).access, {});
    for (const server of ["prod.example.org:7443", "10.0.0.1:1", "localhost.evil.org:1"]) await assert.rejects(findContext({ server, insecure: true }, {}), UsageError);
  });

  it("take what is given now before what is kept, and one credential only", async () => {
    write(FILE);
    const cert = join(home, "drover/me.pem");
    assert.deepEqual((await findContext({ context: "cert" }, environment())).access, { tls: { ca: join(home, "drover/ca.pem"), cert, key: join(home, "drover/me.key") } });
    assert.deepEqual((await findContext({ context: "cert" }, environment({ DROVER_TOKEN: "now" }))).access, { tls: { ca: join(home, "drover/ca.pem") }, token: "now" });
    const tokenFile = join(home, "token");
    writeFileSync(tokenFile, "from-file\n");
    assert.equal((await findContext({ tokenFile }, environment({ DROVER_TOKEN: "now" }))).access.token, "from-file");
    assert.deepEqual((await findContext({ ca: "/x" }, environment({ DROVER_CA: "/y" }))).access.tls, { ca: "/x" });
    await assert.rejects(findContext({ tokenFile: join(home, "none") }, environment()), UsageError);
  });

  it("are kept from others' eyes, with what else is in the file", async () => {
    write(FILE, 0o644);
    await assert.rejects(findContext({}, environment()), /chmod 600/);
    rmSync(path());
    write(FILE);
    await writeContext(path(), "new", { server: "n:1", token: "t" });
    assert.equal(statSync(path()).mode & 0o777, 0o600);
    const file = (await readUserFile(environment()))!;
    assert.deepEqual([file.current, file.contexts.get("new"), file.contexts.size, file.server], ["new", { server: "n:1", token: "t" }, 4, "old.example.org:7443"]);
    await writeCurrent(path(), "prod");
    assert.equal((await readUserFile(environment()))!.current, "prod");
    assert.match(readFileSync(path(), "utf8"), /^# mine/);
    write("a: [");
    await assert.rejects(findContext({}, environment()), UsageError);
  });
});
