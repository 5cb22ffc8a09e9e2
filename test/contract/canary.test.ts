/**
 * Secrets of every kind sent through a whole server at its most talkative: created, changed, refused, run, shown in every
 * way, and the server killed. What is left on its disk and what anybody was told holds none of them.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { EventType } from "../../gen/drover/v1/event.ts";
import { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { runningOn, startInstalled, withUserData } from "../security/server.ts";
import type { Installed, Spec } from "../security/server.ts";
import { bearer, EVERYTHING, ONCE, WATCH } from "./auth-server.ts";
import { named } from "../unit/api-server/sessions/serving.ts";

const USER_DATA = "canary-user-5d0e9c";
const NETWORK_DATA = "canary-network-8f21aa";
const CHANGED = "canary-changed-77ab12";
const REFUSED = "canary-refused-19fe44";

/** As it is, and in the forms that a secret takes in JSON, dumps and headers. */
const formsOf = (secret: string) => [secret, Buffer.from(secret).toString("base64").replace(/=+$/, "").slice(0, -2), Buffer.from(secret).toString("hex")];

function withSecrets(userData: string): Spec {
  const spec = withUserData(userData);
  const source = { $case: "cloudInitNoCloud" as const, value: { userData: { value: userData }, networkData: { value: NETWORK_DATA } } };
  return { ...spec, volumes: [{ name: "seed", source }] };
}

describe("canaries in every secret", function () {
  this.timeout(120_000);
  let server: Installed;
  const secrets = [USER_DATA, NETWORK_DATA, CHANGED, REFUSED];
  const said: string[] = [];
  const hear = async (answer: Promise<unknown>) => void said.push(await answer.then((value) => JSON.stringify(value), (error: Error) => `${error.stack} ${JSON.stringify(error)}`));

  before(async () => {
    server = await startInstalled();
    await exercise(server);
    await server.program[Symbol.asyncDispose]();
  });
  after(() => server?.[Symbol.asyncDispose]());

  async function exercise({ admin, ...rest }: Installed): Promise<void> {
    const host = await rest.host("owner");
    const { claimed } = await runningOn(server, host, { spec: withSecrets(USER_DATA) });
    assert.ok([USER_DATA, NETWORK_DATA].every((secret) => JSON.stringify(claimed.spec).includes(secret)), "the owner has them");
    const { token } = await admin.nodes.createNodeToken({ name: "later", ttlSeconds: 0, ...ONCE });
    const { token: service } = await admin.auth.createServiceToken({ name: "ci", role: "viewer", namespaces: [], ttlSeconds: 0, ...ONCE });
    // The node's name and the authority's pin are no secrets; what is between them is.
    secrets.push(token.split(".")[1]!, service.split(".").at(-1)!);
    await change(admin);
    const ci = rest.public({ ca: rest.ca });
    await hear(ci.machines.listVirtualMachines(EVERYTHING, bearer(service)));
    await hear(ci.machines.startVirtualMachine({ ...named, ...ONCE }, bearer(service)));
    await hear(ci.machines.startVirtualMachine({ ...named, ...ONCE }, bearer(`${service.slice(0, -1)}_`)));
    const bad = VirtualMachine.create({ metadata: { name: "Not A Name" }, spec: { runStrategy: 3, template: { spec: withSecrets(REFUSED) } } });
    await hear(admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: bad }));
    await hear(admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: { ...bad, metadata: { ...bad.metadata!, name: "web" } } }));
    for (const answer of shows(admin)) await hear(answer);
    for (const args of [["get", "vm", "-o", "yaml"], ["describe", "vm", "web"], ["explain", "vm", "web"], ["audit"], ["audit", "export"], ["auth", "token", "list"], ["events", "-A"]]) await hear(rest.drover(args));
  }

  async function change(admin: Installed["admin"]): Promise<void> {
    const { virtualMachine } = await admin.machines.getVirtualMachine(named);
    const next = VirtualMachine.decode(VirtualMachine.encode(virtualMachine!).finish());
    const { source } = next.spec!.template!.spec!.volumes[0]!;
    assert.ok(source?.$case === "cloudInitNoCloud");
    source.value.userData = { value: CHANGED, digest: "" };
    await hear(admin.machines.updateVirtualMachine({ ...ONCE, virtualMachine: next, updateMask: undefined }));
    await hear(admin.machines.updateVirtualMachine({ ...ONCE, virtualMachine: next, updateMask: undefined, requestId: "twice" }));
  }

  const shows = ({ machines, instances, nodes, events, audit, auth }: Installed["admin"]): Promise<unknown>[] => [
    machines.getVirtualMachine(named), machines.listVirtualMachines(EVERYTHING), instances.getVirtualMachineInstance(named), instances.listVirtualMachineInstances(EVERYTHING),
    nodes.listNodes(EVERYTHING), events.listEvents(EVERYTHING), machines.explainVirtualMachine(named), auth.listServiceTokens({ pageSize: 0, pageToken: "" }),
    machines.watchVirtualMachines(WATCH)[Symbol.asyncIterator]().next(), instances.watchVirtualMachineInstances(WATCH)[Symbol.asyncIterator]().next(),
    nodes.watchNodes(WATCH)[Symbol.asyncIterator]().next(),
    audit.listAuditEntries({ filter: undefined, pageSize: 0, pageToken: "" }),
    events.createEvent({ event: { metadata: undefined, regarding: { kind: "VirtualMachine", ...named, uid: "" }, reason: "Seen", message: "x", type: EventType.NORMAL, source: "", count: 0, firstTime: undefined, lastTime: undefined }, ...ONCE }),
  ];

  it("were told to nobody but the owner's agent", () => {
    assert.ok(said.length > 20);
    for (const text of said) for (const secret of secrets) for (const form of formsOf(secret)) assert.equal(text.includes(form), false, `${secret} in ${text.slice(0, 300)}`);
  });

  it("are in no file that a killed server leaves: store, write-ahead log, log at its most talkative", () => {
    const log = server.log();
    assert.ok(/"level":(10|20)/.test(log) && log.split("\n").length > 50, "the log was talkative");
    assert.ok(server.storedBytes().includes("drover-sealed:1:k1:"), "the store has them closed");
    for (const place of ["store", "log", "pki"]) {
      const directory = join(server.directory, place);
      for (const name of readdirSync(directory)) {
        const bytes = readFileSync(join(directory, name));
        for (const secret of secrets) for (const form of formsOf(secret)) assert.equal(bytes.includes(form), false, `${secret} in ${place}/${name}`);
      }
    }
  });

  it("leave a trail of what was done with them", () => {
    const trail = said.find((text) => text.includes("auditEntries"))!;
    for (const rpc of ["CreateVirtualMachine", "UpdateVirtualMachine", "CreateServiceToken", "CreateNodeToken", "Enroll"]) assert.ok(trail.includes(`/${rpc}`), rpc);
  });
});
