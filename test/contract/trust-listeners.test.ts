/** Who gets in where, by the certificate shown, and how the server's own is exchanged while it serves. */
import "reflect-metadata";
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { ExtendedKeyUsage } from "@peculiar/x509";
import { ClientError, Metadata, Status } from "nice-grpc";
import { HealthDefinition } from "nice-grpc-server-health";
import { NodeAgentServiceDefinition } from "../../gen/drover/agent/v1/agent.ts";
import { AuthServiceDefinition } from "../../gen/drover/v1/auth.ts";
import { NamespaceServiceDefinition } from "../../gen/drover/v1/namespace.ts";
import { NodeServiceDefinition } from "../../gen/drover/v1/node.ts";
import type { ClientTls } from "../../lib/client.ts";
import { connect } from "../../lib/client.ts";
import { systemClock } from "../../lib/clock.ts";
import { privateKeyPem } from "../../lib/pki/keys.ts";
import { systemRandom } from "../../lib/random.ts";
import { Authority } from "../../api-server/authority/authority.ts";
import { eventually, serve } from "../unit/api-server/sessions/serving.ts";
import { anAuthority, forge, signerIn } from "./forge.ts";
import type { Forgery, Signer } from "./forge.ts";

type Server = Awaited<ReturnType<typeof serve>>;
const UID = "0b5e6d1e-0000-4000-8000-000000000001";
const outcome = (attempt: Promise<unknown>) => attempt.then(() => "OK", (error: unknown) => (error instanceof ClientError ? Status[error.code]! : String(error)));

describe("the listeners", function () {
  this.timeout(60_000);
  let server: Server;
  let own: Signer;
  let foreign: Signer;
  let namesake: Signer;
  let uid: string;
  let ca: string;
  let forged = 0;
  before(async () => {
    server = await serve();
    ca = join(server.directory, "pki/ca.pem");
    own = await signerIn(join(server.directory, "pki"));
    foreign = (await anAuthority("another")).signer;
    namesake = (await anAuthority("Drover authority of test")).signer;
    uid = (await server.join(await server.token("a"))).certificates.nodeUid;
  });
  after(() => server[Symbol.asyncDispose]());

  const forgery = (signer: Signer | undefined, parts: Forgery) => forge(join(server.directory, `forged-${(forged += 1)}`), { ca, ...(signer && { signer }), ...parts });
  /** What the public listener says to who asks whom it takes him for. */
  const publicly = async (tls: ClientTls, metadata = Metadata()) => {
    using connection = connect({ server: server.portOf("public"), tls });
    return await connection.client(AuthServiceDefinition).whoAmI({}, { metadata }).then(({ subject }) => subject, (error: ClientError) => Status[error.code]);
  };
  const asAgent = async (tls: ClientTls) => {
    using connection = connect({ server: server.portOf("agents"), tls });
    return await outcome(connection.client(NodeAgentServiceDefinition).lookupMachine({ namespace: "", vmName: "x", vmUid: "", vmiUid: "", volumes: [] }));
  };

  it("take the right certificates", async () => {
    assert.equal(await publicly(await forgery(own, { uris: ["spiffe://test/user/alice"] })), "user/alice");
    assert.equal(await publicly(await forgery(own, { uris: ["spiffe://test/controller"] })), "controller");
    assert.equal(await asAgent(await forgery(own, { uris: [`spiffe://test/node/${uid}/1`] })), "OK");
  });

  const nobody: [string, () => Promise<ClientTls>][] = [
    ["no certificate", async () => ({ ca })],
    ["one that signed itself", () => forgery(undefined, { uris: ["spiffe://test/controller"] })],
    ["one of another authority", () => forgery(foreign, { uris: ["spiffe://test/controller"] })],
    ["one that has ended", () => forgery(own, { uris: ["spiffe://test/controller"], fromDays: -3, toDays: -1 })],
    ["one that has not begun", () => forgery(own, { uris: ["spiffe://test/controller"], fromDays: 1, toDays: 2 })],
    ["one for servers", () => forgery(own, { uris: ["spiffe://test/controller"], usage: [ExtendedKeyUsage.serverAuth] })],
    ["one without an identity", () => forgery(own, {})],
    ["one with two identities", () => forgery(own, { uris: ["spiffe://test/controller", `spiffe://test/node/${uid}/1`] })],
    ["one with the same identity twice", () => forgery(own, { uris: ["spiffe://test/controller", "spiffe://test/controller"] })],
    ["one with an identity in a DNS name", () => forgery(own, { names: ["spiffe://test/controller"] })],
    ["one of another trust domain", () => forgery(own, { uris: ["spiffe://other/controller"] })],
    ["QEMU's", () => forgery(own, { uris: [`spiffe://test/migration/${uid}/1`] })],
    ["a server's", () => forgery(own, { uris: ["spiffe://test/api-server"] })],
  ];
  for (const [what, make] of nobody) {
    it(`take nobody for anybody who shows ${what}`, async () => {
      const tls = await make();
      assert.equal(await publicly(tls), "UNAUTHENTICATED");
      assert.match(await asAgent(tls), /^UNAUTHENTICATED$|^UNAVAILABLE$/);
    });
  }

  it("drop who shows one of another authority with the same name", async () => {
    const tls = await forgery(namesake, { uris: ["spiffe://test/controller"] });
    assert.deepEqual([await publicly(tls), await asAgent(tls)], ["UNAVAILABLE", "UNAVAILABLE"]);
  });

  it("keep agents, users and the controller to their own", async () => {
    assert.equal(await publicly(await forgery(own, { uris: [`spiffe://test/node/${uid}/1`] })), "UNAUTHENTICATED");
    for (const uri of ["spiffe://test/controller", "spiffe://test/user/alice", `spiffe://test/node/${uid}/2`, `spiffe://test/node/${UID}/1`]) {
      assert.equal(await asAgent(await forgery(own, { uris: [uri] })), "UNAUTHENTICATED", uri);
    }
  });

  it("believe no header about who somebody is", async () => {
    const peer = Buffer.from(JSON.stringify({ kind: "controller" })).toString("base64url");
    assert.equal(await publicly({ ca }, Metadata({ "x-drover-peer": peer })), "UNAUTHENTICATED");
    const alice = await forgery(own, { uris: ["spiffe://test/user/alice"], groups: ["dev", "ops"] });
    assert.equal(await publicly(alice, Metadata({ "x-drover-peer": [peer, peer] })), "user/alice");
  });

  it("offer health to everybody in public and to nobody elsewhere, and nothing without TLS", async () => {
    const health = async (name: "public" | "agents" | "enrolment", tls: ClientTls) => {
      using connection = connect({ server: server.portOf(name), tls });
      return await outcome(connection.client(HealthDefinition).check({ service: "" }));
    };
    assert.equal(await health("public", { ca }), "OK");
    assert.equal(await health("agents", await forgery(own, { uris: [`spiffe://test/node/${uid}/1`] })), "UNIMPLEMENTED");
    assert.equal(await health("enrolment", { ca }), "UNIMPLEMENTED");
    using plain = connect({ server: server.portOf("public") });
    assert.equal(await outcome(plain.client(NamespaceServiceDefinition).getNamespace({ name: "default" })), "UNAVAILABLE");
  });

  it("are not taken for the server of another name or of another authority", async () => {
    const { port } = new URL(`https://${server.portOf("public")}`);
    const health = async (address: string, tls: ClientTls) => {
      using connection = connect({ server: address, tls });
      return await connection.client(HealthDefinition).check({ service: "" }).then(() => "OK", (error: ClientError) => error.message);
    };
    assert.equal(await health(`localhost:${port}`, { ca }), "OK");
    using relay = await relayTo(server.portOf("public"), "127.0.0.2");
    assert.match(await health(relay.address, { ca }), /127\.0\.0\.2 is not in the cert's list/);
    const other = join(server.directory, "other.pem");
    writeFileSync(other, (await anAuthority("another")).pem);
    assert.match(await health(`localhost:${port}`, { ca: other }), /unable to (verify|get)|self.signed/);
  });

  it("see a client's renewed files at its next connection", async () => {
    const [alice, bob] = [await forgery(own, { uris: ["spiffe://test/user/alice"] }), await forgery(own, { uris: ["spiffe://test/user/bob"] })];
    const tls = { ca, cert: join(server.directory, "client.pem"), key: join(server.directory, "client.key") };
    const become = (files: ClientTls) => {
      copyFileSync(files.cert!, tls.cert);
      copyFileSync(files.key!, tls.key);
    };
    become(alice);
    using relay = await relayTo(server.portOf("public"));
    using connection = connect({ server: relay.address, tls });
    const client = connection.client(AuthServiceDefinition);
    assert.equal((await client.whoAmI({})).subject, "user/alice");
    become(bob);
    assert.equal((await client.whoAmI({})).subject, "user/alice", "the connection stands");
    relay.cut();
    await eventually(async () => (await client.whoAmI({}).catch(() => undefined))?.subject === "user/bob");
  });

  it("take a new certificate of the server while a watch goes on", async () => {
    const controller = server.open(server.portOf("public"), await forgery(own, { uris: ["spiffe://test/controller"] }));
    const watch = controller.client(NodeServiceDefinition).watchNodes({ fromRevision: "", labelSelector: "", fieldSelector: "" })[Symbol.asyncIterator]();
    const names: string[] = [];
    const next = async () => {
      const { value } = await watch.next();
      if (value?.event?.$case === "added") names.push(value.event.value.metadata!.name);
    };
    await next();
    const before = await serialAt(server.portOf("public"));
    const pair = await server.authority.keep("server", { identity: { kind: "api-server" }, names: ["localhost"], addresses: ["127.0.0.1"] });
    server.trust.tls.replace(pair);
    for (const name of ["public", "agents", "enrolment"] as const) assert.notEqual(await serialAt(server.portOf(name)), before, name);
    assert.equal(await serialAt(server.portOf("public")), new X509Certificate(pair.certificate).serialNumber);
    await server.token("b");
    while (!names.includes("b")) await next();
    assert.equal(await publicly(await forgery(own, { uris: ["spiffe://test/user/alice"] })), "user/alice", "client certificates are asked for as before");
    assert.equal(await publicly(await forgery(foreign, { uris: ["spiffe://test/controller"] })), "UNAUTHENTICATED");
    assert.match(await asAgent({ ca }), /UNAVAILABLE/);
  });
});

describe("an authority below another one", function () {
  this.timeout(30_000);

  it("vouches for its own certificates and not for its sisters'", async () => {
    await using server = await serve();
    const root = await anAuthority("company");
    const [drover, sister] = [await anAuthority("drover", { below: root.signer }), await anAuthority("payroll", { below: root.signer })];
    const directory = join(server.directory, "brought");
    mkdirSync(directory, { mode: 0o700 });
    writeFileSync(join(directory, "ca.pem"), drover.pem + root.pem);
    writeFileSync(join(directory, "ca.key"), await privateKeyPem(drover.keys), { mode: 0o600 });
    const authority = await Authority.open({ directory, trustDomain: "test", clock: systemClock, random: systemRandom });
    await using second = await serve(undefined, { authority });
    const ca = join(directory, "ca.pem");
    const whoAmI = async (signer: Signer, chain: string) => {
      const tls = await forge(join(directory, `client-${signer.certificate.subject}`), { ca, signer, chain, uris: ["spiffe://test/controller"] });
      using connection = connect({ server: second.portOf("public"), tls });
      return await connection.client(AuthServiceDefinition).whoAmI({}).then(({ subject }) => subject, (error: ClientError) => Status[error.code]);
    };
    assert.equal(await whoAmI(drover.signer, drover.pem), "controller");
    assert.equal(await whoAmI(sister.signer, sister.pem), "UNAUTHENTICATED");
    assert.equal((await second.join(await second.token("a"))).certificates.caPem, drover.pem + root.pem);
  });
});

/** A way to the server that can be cut. */
async function relayTo(address: string, at = "127.0.0.1") {
  const { hostname: host, port } = new URL(`https://${address}`);
  const open = new Set<Socket>();
  const relay = createServer((from) => {
    const to = createConnection({ host, port: Number(port) });
    for (const [one, other] of [[from, to], [to, from]] as const) {
      open.add(one);
      one.pipe(other);
      one.on("error", () => other.destroy()).on("close", () => other.destroy());
    }
  }).listen(0, at);
  await once(relay, "listening");
  const cut = () => {
    for (const socket of open) socket.destroy();
  };
  return {
    address: `${at}:${(relay.address() as AddressInfo).port}`,
    cut,
    [Symbol.dispose]() {
      relay.close();
      cut();
    },
  };
}

/** The serial number of the certificate that a new connection is shown. */
function serialAt(address: string): Promise<string> {
  const { hostname: host, port } = new URL(`https://${address}`);
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ["h2"] }, () => {
      const { serialNumber } = socket.getPeerCertificate();
      socket.destroy();
      resolve(serialNumber);
    });
    socket.once("error", reject);
  });
}
