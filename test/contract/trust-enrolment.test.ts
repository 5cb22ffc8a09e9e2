/** How a host becomes a node, stays it and stops being it: tokens, certificates, incarnations. Real server, real TLS. */
import assert from "node:assert/strict";
import { generateKeyPairSync, webcrypto, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import "reflect-metadata";
import { Pkcs10CertificateRequestGenerator, SubjectAlternativeNameExtension } from "@peculiar/x509";
import { ClientError, Status } from "nice-grpc";
import { EnrolmentServiceDefinition } from "../../gen/drover/agent/v1/enrolment.ts";
import { NamespaceServiceDefinition } from "../../gen/drover/v1/namespace.ts";
import { Node } from "../../gen/drover/v1/node.ts";
import { ECDSA_SHA256, newKeyPair, newRequest, requestPem } from "../../lib/pki/keys.ts";
import { parseJoinToken } from "../../lib/pki/join-token.ts";
import { Agent, eventually, refused, serve } from "../unit/api-server/sessions/serving.ts";
import { pinnedAuthority } from "../../lib/pki/pinned-authority.ts";

type Server = Awaited<ReturnType<typeof serve>>;
const CHANGE = { requestId: "", validateOnly: false };
const uriOf = (pem: string) => new X509Certificate(pem).subjectAltName ?? "";

const enroller = (server: Server) => server.open(server.portOf("enrolment"), { ca: `${server.directory}/pki/ca.pem` }).client(EnrolmentServiceDefinition);
const requests = async () => {
  const [agent, migration] = await Promise.all([newRequest(), newRequest()]);
  return { csrPem: agent.csrPem, migrationCsrPem: migration.csrPem };
};
const reasonsOf = async (server: Server, name: string) => {
  const { events } = await server.events.listEvents({ namespace: "", pageSize: 0, pageToken: "", labelSelector: "", fieldSelector: `regarding.name=${name}` });
  return events.map(({ reason }) => reason);
};
const outcome = (attempt: Promise<unknown>) => attempt.then(() => "OK", (error: unknown) => (error instanceof ClientError ? Status[error.code]! : String(error)));

describe("enrolment", function () {
  this.timeout(180_000);
  let server: Server;
  beforeEach(async () => (server = await serve()));
  afterEach(() => server[Symbol.asyncDispose]());

  it("makes a node of a host, with names that come from the token and keys that never left the host", async () => {
    const { agent, migration, certificates } = await server.join(await server.token("a"));
    const { node } = await server.nodes.getNode({ name: "a" });
    const { uid } = node!.metadata!;
    assert.equal(uriOf(readFileSync(agent.cert, "utf8")), `URI:spiffe://test/node/${uid}/1, DNS:${uid}.node.test`);
    assert.equal(uriOf(readFileSync(migration.cert, "utf8")), `URI:spiffe://test/migration/${uid}/1, DNS:${uid}.migration.test`);
    assert.deepEqual([certificates.nodeName, certificates.nodeUid, certificates.incarnation], ["a", uid, 1]);
    const life = new X509Certificate(readFileSync(agent.cert));
    const hours = (Date.parse(life.validTo) - Date.parse(life.validFrom)) / 3_600_000;
    assert.ok(hours > 24 && hours < 24.2, `${hours} h`);
    assert.equal(node!.status!.identity!.certificateExpireTime!.getTime(), Date.parse(life.validTo));
    assert.equal((await new Agent(server.agent(agent)).hear("welcome")).nodeName, "a");
  });

  it("takes no name, no extension and no weak key from a request", async () => {
    const keys = await newKeyPair();
    const stolen = new SubjectAlternativeNameExtension([{ type: "url", value: "spiffe://test/controller" }, { type: "dns", value: "api.example.org" }]);
    const csr = await Pkcs10CertificateRequestGenerator.create({ name: "CN=controller, O=admins", keys, signingAlgorithm: ECDSA_SHA256, extensions: [stolen] });
    const { migrationCsrPem } = await requests();
    const { certificates } = await enroller(server).enroll({ token: await server.token("a"), csrPem: csr.toString("pem"), migrationCsrPem });
    const made = new X509Certificate(certificates!.certificatePem);
    assert.match(made.subjectAltName!, /^URI:spiffe:\/\/test\/node\/[0-9a-f-]{36}\/1, DNS:[0-9a-f-]{36}\.node\.test$/);
    assert.doesNotMatch(made.subject, /controller|admins/);
  });

  it("refuses a request that is not in order before the token is used", async () => {
    const token = await server.token("a");
    const good = await requests();
    const rsa = await webcrypto.subtle.generateKey({ name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" }, true, ["sign", "verify"]);
    const p384 = await webcrypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-384" }, true, ["sign", "verify"]);
    const weak = await Pkcs10CertificateRequestGenerator.create({ keys: rsa, signingAlgorithm: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" } });
    const other = await Pkcs10CertificateRequestGenerator.create({ keys: p384, signingAlgorithm: { name: "ECDSA", hash: "SHA-384" } });
    // The key of one with the signature of another.
    const [own, foreign] = [await newKeyPair(), await newKeyPair()];
    const forged = await requestPem({ publicKey: own.publicKey, privateKey: foreign.privateKey });
    const bad = ["x", weak.toString("pem"), other.toString("pem"), forged, `${good.csrPem}${"\n".repeat(9_000)}`, generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "pem" }).toString()];
    for (const csrPem of bad) {
      await refused(enroller(server).enroll({ ...good, token, csrPem }), Status.INVALID_ARGUMENT, /csr_pem/);
      await refused(enroller(server).enroll({ ...good, token, migrationCsrPem: csrPem }), Status.INVALID_ARGUMENT, /migration_csr_pem/);
    }
    assert.equal((await enroller(server).enroll({ ...good, token })).certificates!.nodeName, "a");
    const ed25519 = await webcrypto.subtle.generateKey({ name: "Ed25519" }, true, ["sign", "verify"]);
    assert.ok("privateKey" in ed25519);
    const allowed = await Pkcs10CertificateRequestGenerator.create({ keys: ed25519, signingAlgorithm: { name: "Ed25519" } });
    assert.ok((await enroller(server).enroll({ ...good, csrPem: allowed.toString("pem"), token: await server.token("a") })).certificates);
  });

  it("takes a token once, and tells of the second time", async () => {
    const token = await server.token("a");
    await server.join(token);
    await refused(server.join(token), Status.UNAUTHENTICATED, /The token cannot be used/);
    assert.deepEqual(await reasonsOf(server, "a"), ["JoinTokenUsedAgain"]);
  });

  it("takes no token that is unknown, replaced or late, and says the same of each", async () => {
    const [first, second] = [await server.token("a"), await server.token("a", 60)];
    const { pin } = parseJoinToken(second)!;
    const made = `dj1.${"0".repeat(52)}.${pin}`;
    server.clock.pass(60_000);
    const answers = await Promise.all([first, second, `${made}.a`, `${made}.nobody`].map(async (token) => enroller(server).enroll({ ...(await requests()), token }).then(() => "OK", (error: ClientError) => error.message)));
    assert.equal(new Set(answers).size, 1, answers.join("\n"));
    assert.match(answers[0]!, /UNAUTHENTICATED/);
    assert.deepEqual(await reasonsOf(server, "a"), ["JoinTokenExpired"]);
    assert.equal((await server.nodes.getNode({ name: "a" })).node!.status!.identity!.incarnation, 0);
  });

  it("lets exactly one of two hosts win, in 200 races", async () => {
    const client = enroller(server);
    const pairs = await Promise.all([requests(), requests()]);
    for (let race = 1; race <= 200; race += 1) {
      const token = await server.token("a");
      const ends = await Promise.all(pairs.map((each) => outcome(client.enroll({ ...each, token }))));
      assert.deepEqual(ends.sort(), ["OK", "UNAUTHENTICATED"], `race ${race}`);
      server.clock.pass(1_000);
    }
    assert.equal((await server.nodes.getNode({ name: "a" })).node!.status!.identity!.incarnation, 200);
  });

  it("holds an address up that fails too often, and nobody who does not", async () => {
    const client = enroller(server);
    const bad = { ...(await requests()), token: `dj1.${"0".repeat(52)}.${"A".repeat(43)}.a` };
    const ends = await Promise.all(Array.from({ length: 12 }, () => outcome(client.enroll(bad))));
    assert.deepEqual([ends.filter((end) => end === "UNAUTHENTICATED").length, ends.filter((end) => end === "RESOURCE_EXHAUSTED").length], [5, 7]);
    server.clock.pass(1_000);
    await server.join(await server.token("a"));
  });

  it("serves nothing but that", async () => {
    const connection = server.open(server.portOf("enrolment"), { ca: `${server.directory}/pki/ca.pem` });
    await refused(connection.client(NamespaceServiceDefinition).getNamespace({ name: "default" }), Status.UNIMPLEMENTED);
    await refused(server.nodes.getNode({ name: "a" }), Status.NOT_FOUND);
  });

  it("is only begun with the authority that the token pins", async () => {
    await assert.rejects(pinnedAuthority(server.portOf("enrolment"), "A".repeat(43)), /does not show the authority/);
    const token = await server.token("a");
    assert.equal(await pinnedAuthority(server.portOf("public"), parseJoinToken(token)!.pin), server.authority.caPem);
  });

  it("shows a token once, keeps its digest to itself, and makes none twice under one request id", async () => {
    const ask = { name: "a", ttlSeconds: 0, requestId: "once", validateOnly: false };
    const dry = await server.nodes.createNodeToken({ ...ask, requestId: "", validateOnly: true });
    assert.equal(dry.token, "");
    await refused(server.nodes.getNode({ name: "a" }), Status.NOT_FOUND);
    const { token, expireTime } = await server.nodes.createNodeToken(ask);
    assert.equal(expireTime!.getTime() - server.clock.now().getTime(), 600_000);
    await refused(server.nodes.createNodeToken(ask), Status.ALREADY_EXISTS);
    await refused(server.nodes.createNodeToken({ ...ask, ttlSeconds: 3_601 }), Status.INVALID_ARGUMENT);
    const read = (await server.nodes.getNode({ name: "a" })).node!;
    assert.deepEqual([read.status!.identity!.token!.digest!.value, read.status!.identity!.token!.digest!.digest], ["", ""]);
    const { secret } = parseJoinToken(token)!;
    const page = await server.store.list("");
    assert.ok(page.items.every(({ value }) => !Buffer.from(value).includes(secret)));
    // What others write to the record leaves the token as it is.
    await server.nodes.cordonNode({ name: "a", ...CHANGE });
    const { node } = await server.nodes.getNode({ name: "a" });
    await server.nodes.updateNodeStatus({ node: { ...node!, status: { ...node!.status!, identity: undefined } } });
    await server.join(token);
  });

  it("gives nobody an identity by a record", async () => {
    const identity = { incarnation: 7, revoked: false, enrolledTime: undefined, certificateExpireTime: undefined, token: undefined };
    const status = { session: undefined, report: undefined, conditions: [], fence: undefined, fenceDoneId: "", identity };
    const { node } = await server.nodes.createNode({ ...CHANGE, node: Node.create({ metadata: { name: "x" }, status }) });
    assert.equal(node!.status?.identity, undefined);
  });

  describe("of a node that has an agent", () => {
    it("puts the agent before out at once, wherever it is", async () => {
      const first = await server.join(await server.token("a"));
      const before = { client: server.agent(first.agent), agent: new Agent(server.agent(first.agent)) };
      await before.agent.hear("welcome");
      const token = await server.token("a");
      await before.client.lookupMachine({ namespace: "", vmName: "x", vmUid: "", vmiUid: "", volumes: [] });
      const second = await server.join(token);
      assert.equal(second.certificates.incarnation, 2);
      await refused(drained(before.agent), Status.UNAUTHENTICATED);
      await refused(before.client.lookupMachine({ namespace: "", vmName: "x", vmUid: "", vmiUid: "", volumes: [] }), Status.UNAUTHENTICATED);
      await refused(new Agent(before.client).next(), Status.UNAUTHENTICATED);
      assert.equal((await new Agent(server.agent(second.agent)).hear("welcome")).nodeName, "a");
    });

    it("follows a revocation, which closes streams and refuses calls until then", async () => {
      const { agent: files } = await server.join(await server.token("a"));
      const client = server.agent(files);
      const agent = new Agent(client);
      await agent.hear("welcome");
      const { node } = await server.nodes.revokeNode({ name: "a", ...CHANGE });
      assert.deepEqual([node!.status!.identity!.revoked, node!.status!.identity!.incarnation], [true, 2]);
      await refused(drained(agent), Status.UNAUTHENTICATED);
      await refused(client.renew({ sessionId: "" }), Status.UNAUTHENTICATED);
      await refused(client.renewCertificate(await requests()), Status.UNAUTHENTICATED);
      const again = (await server.nodes.revokeNode({ name: "a", ...CHANGE })).node!;
      assert.equal(again.status!.identity!.incarnation, 2, "a repeat changes nothing");
      const back = await server.join(await server.token("a"));
      assert.deepEqual([back.certificates.incarnation, (await server.nodes.getNode({ name: "a" })).node!.status!.identity!.revoked], [3, false]);
      await new Agent(server.agent(back.agent)).hear("welcome");
    });

    it("is over for a token that was made before the revocation", async () => {
      const token = await server.token("a");
      await server.nodes.revokeNode({ name: "a", ...CHANGE });
      await refused(server.join(token), Status.UNAUTHENTICATED);
    });

    it("ends with the record, and a node of the same name is another", async () => {
      const { agent } = await server.join(await server.token("a"));
      const client = server.agent(agent);
      await server.nodes.deleteNode({ name: "a", uid: "", resourceVersion: "", ...CHANGE });
      await eventually(async () => (await outcome(client.renew({ sessionId: "" }))) === "UNAUTHENTICATED");
      await server.join(await server.token("a"));
      await refused(new Agent(client).next(), Status.UNAUTHENTICATED);
    });

    it("is renewed for the same incarnation and new keys, and the record says until when", async () => {
      const { agent, certificates: first } = await server.join(await server.token("a"));
      const client = server.agent(agent);
      const { certificates } = await client.renewCertificate(await requests());
      assert.deepEqual([certificates!.nodeUid, certificates!.incarnation], [first.nodeUid, 1]);
      const [before, after] = [first, certificates!].map(({ certificatePem }) => new X509Certificate(certificatePem));
      assert.equal(before!.subjectAltName, after!.subjectAltName);
      assert.notDeepEqual(before!.publicKey.export({ type: "spki", format: "der" }), after!.publicKey.export({ type: "spki", format: "der" }));
      assert.notEqual(before!.serialNumber, after!.serialNumber);
      const known = (await server.nodes.getNode({ name: "a" })).node!.status!.identity!.certificateExpireTime!;
      assert.equal(known.getTime(), Date.parse(after!.validTo));
    });
  });
});

async function drained(agent: Agent): Promise<never> {
  for (;;) await agent.next();
}
