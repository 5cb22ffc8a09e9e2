/** T1: a tenant who wants to see or touch what is in another's namespace, or only to know whether it is there. */
import assert from "node:assert/strict";
import { ClientError, Status } from "nice-grpc";
import { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import { EVERYTHING, ONCE, WATCH } from "../contract/auth-server.ts";
import { machineOf, startInstalled } from "./server.ts";
import type { Clients, Installed } from "./server.ts";

const SPACES = ["a", "b", "c"] as const;
const USERS = ["anna", "bert", "carl"] as const;
const FOREIGN_EVENTS = 600;

type Space = (typeof SPACES)[number];
type Verb = "get" | "list" | "start" | "delete" | "create" | "console";
/** What the built-in roles give of those. */
const GIVES: Record<string, readonly Verb[]> = { viewer: ["get", "list"], operator: ["get", "list", "start", "delete", "create", "console"] };

describe("T1: a tenant and another's namespace", function () {
  this.timeout(60_000);
  let server: Installed;
  const bound = new Map<string, readonly Verb[]>();
  const clients = new Map<string, Clients>();

  before(async () => {
    server = await startInstalled();
    for (const name of SPACES) {
      await server.admin.spaces.createNamespace({ ...ONCE, namespace: { metadata: ObjectMeta.create({ name }) } });
      await server.admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: machineOf("web", { namespace: name }) });
    }
    for (const [user, role, space] of [["anna", "operator", "a"], ["anna", "viewer", "b"], ["bert", "viewer", "c"], ["carl", "operator", "c"]] as const) {
      await server.bind(user, role, [space]);
      bound.set(`${user} ${space}`, GIVES[role]!);
    }
    for (const user of USERS) clients.set(user, await server.as(user));
  });
  after(() => server?.[Symbol.asyncDispose]());

  const end = (attempt: Promise<unknown>) => attempt.then(() => "OK", (error: ClientError) => `${Status[error.code]}: ${error.details}`);
  const ask: Record<Verb, (by: Clients, at: { namespace: Space; name: string }) => Promise<unknown>> = {
    get: ({ machines }, at) => machines.getVirtualMachine(at),
    list: ({ machines }, { namespace }) => machines.listVirtualMachines({ ...EVERYTHING, namespace }),
    // Nothing is to be gone or started after a try.
    start: ({ machines }, at) => machines.startVirtualMachine({ ...at, ...ONCE, validateOnly: true }),
    delete: ({ machines }, at) => machines.deleteVirtualMachine({ ...at, ...ONCE, uid: "", resourceVersion: "", validateOnly: true }),
    create: ({ machines }, { namespace, name }) => machines.createVirtualMachine({ ...ONCE, virtualMachine: machineOf(name, { namespace }), validateOnly: true }),
    console: async ({ instances }, at) => { for await (const _ of instances.readConsole({ ...at, follow: false })) return; },
  };

  it("may what its roles say in its namespaces and nothing else, and what it may not is the same for what exists and what does not", async () => {
    let refusals = 0;
    for (const user of USERS) for (const namespace of SPACES) for (const verb of Object.keys(ask) as Verb[]) {
      const answers = await Promise.all(["web", "missing"].map((name) => end(ask[verb](clients.get(user)!, { namespace, name }))));
      if (bound.get(`${user} ${namespace}`)?.includes(verb)) {
        for (const answer of answers) assert.doesNotMatch(answer, /^PERMISSION_DENIED/);
        continue;
      }
      refusals += 1;
      const kind = verb === "console" ? "VirtualMachineInstance" : "VirtualMachine";
      assert.match(answers[0]!, new RegExp(`^PERMISSION_DENIED: "user/${user}" may not ${verb} ${kind}`));
      assert.equal(answers[0], answers[1]);
    }
    assert.equal(refusals, USERS.length * SPACES.length * Object.keys(ask).length - [...bound.values()].flat().length);
  });

  it("sees of all namespaces together its own alone, and a watch tells it of nothing else", async () => {
    const bert = clients.get("bert")!;
    const { virtualMachines } = await bert.machines.listVirtualMachines(EVERYTHING);
    assert.deepEqual([...new Set(virtualMachines.map(({ metadata }) => metadata!.namespace))], ["c"]);
    const watch = bert.machines.watchVirtualMachines(WATCH)[Symbol.asyncIterator]();
    while ((await watch.next()).value!.event!.$case !== "bookmark");
    await Promise.all(Array.from({ length: FOREIGN_EVENTS }, (_, index) =>
      server.admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: machineOf(`foreign-${index}`, { namespace: index % 2 === 0 ? "a" : "b" }) })));
    await server.admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: machineOf("own", { namespace: "c" }) });
    for (;;) {
      const { event } = (await watch.next()).value!;
      if (event!.$case === "bookmark") continue;
      assert.ok(event!.$case === "added", event!.$case);
      assert.deepEqual([event.value.metadata!.namespace, event.value.metadata!.name], ["c", "own"], "the first that it hears of");
      break;
    }
    await watch.return?.();
  });

  it("learns nothing from what it names in a request: owners, selectors, request ids, page tokens", async () => {
    const [bert, carl] = [clients.get("bert")!, clients.get("carl")!];
    const { metadata } = (await server.admin.machines.getVirtualMachine({ namespace: "a", name: "web" })).virtualMachine!;
    const { virtualMachines } = await bert.machines.listVirtualMachines({ ...EVERYTHING, fieldSelector: `metadata.namespace=a,metadata.name=web` }).catch(() => ({ virtualMachines: [] }));
    assert.deepEqual(virtualMachines, []);
    // A request id that an administrator has used says nothing to who guesses it.
    await server.admin.machines.startVirtualMachine({ namespace: "a", name: "web", requestId: "guessed", validateOnly: false });
    assert.match(await end(carl.machines.startVirtualMachine({ namespace: "a", name: "web", requestId: "guessed", validateOnly: false })), /^PERMISSION_DENIED/);
    const { nextPageToken } = await server.admin.machines.listVirtualMachines({ ...EVERYTHING, pageSize: 1 });
    const answer = await bert.machines.listVirtualMachines({ ...EVERYTHING, pageSize: 1, pageToken: nextPageToken }).catch((error: ClientError) => error);
    assert.doesNotMatch(answer instanceof ClientError ? answer.message : JSON.stringify(answer.virtualMachines), new RegExp(`${metadata!.uid}|foreign|"namespace":"[ab]"`));
  });
});
