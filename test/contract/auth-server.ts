/** The real server with its public listener over TLS, its authority, and callers of every kind. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Metadata } from "nice-grpc";
import * as v from "valibot";
import { AuthServiceDefinition } from "../../gen/drover/v1/auth.ts";
import { EventServiceDefinition } from "../../gen/drover/v1/event.ts";
import { MigrationServiceDefinition } from "../../gen/drover/v1/migration.ts";
import { NamespaceServiceDefinition } from "../../gen/drover/v1/namespace.ts";
import { NodeServiceDefinition } from "../../gen/drover/v1/node.ts";
import { Role, RoleServiceDefinition } from "../../gen/drover/v1/role.ts";
import { RoleBinding, RoleBindingServiceDefinition, SubjectKind } from "../../gen/drover/v1/role_binding.ts";
import { VirtualMachineServiceDefinition } from "../../gen/drover/v1/virtual_machine.ts";
import { VirtualMachineInstanceServiceDefinition } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { VolumeServiceDefinition } from "../../gen/drover/v1/volume.ts";
import { connect } from "../../lib/client.ts";
import type { Connection } from "../../lib/client.ts";
import { systemClock } from "../../lib/clock.ts";
import { silentLog } from "../../lib/log.ts";
import { newKeyPair, privateKeyPem } from "../../lib/pki/keys.ts";
import { systemRandom } from "../../lib/random.ts";
import { assemble } from "../../api-server/assemble.ts";
import { authSchema } from "../../api-server/auth/config.ts";
import { Authority } from "../../api-server/authority/authority.ts";
import { listenersOf } from "../../api-server/listeners.ts";
import { listenAll } from "../../api-server/server.ts";
import { MemoryStore } from "../../api-server/store/memory.ts";
import { openTrust } from "../../api-server/trust.ts";

export const ONCE = { requestId: "", validateOnly: false };
export const EVERYTHING = { namespace: "", pageSize: 0, pageToken: "", labelSelector: "", fieldSelector: "" };
export const WATCH = { namespace: "", fromRevision: "", labelSelector: "", fieldSelector: "" };

export const clientsOf = (connection: Connection) => ({
  auth: connection.client(AuthServiceDefinition),
  roles: connection.client(RoleServiceDefinition),
  bindings: connection.client(RoleBindingServiceDefinition),
  machines: connection.client(VirtualMachineServiceDefinition),
  instances: connection.client(VirtualMachineInstanceServiceDefinition),
  migrations: connection.client(MigrationServiceDefinition),
  nodes: connection.client(NodeServiceDefinition),
  volumes: connection.client(VolumeServiceDefinition),
  spaces: connection.client(NamespaceServiceDefinition),
  events: connection.client(EventServiceDefinition),
});
export type Clients = ReturnType<typeof clientsOf>;

export const bearer = (token: string) => ({ metadata: Metadata({ authorization: `Bearer ${token}` }) });
export const user = (name: string) => ({ kind: SubjectKind.USER, name });
export const group = (name: string) => ({ kind: SubjectKind.GROUP, name });

export const role = (name: string, ...rules: { verbs: string[]; kinds: string[]; names?: string[] }[]) => Role.create({ metadata: { name }, spec: { rules } });
export const binding = (name: string, spec: { role: string; subjects: { kind: SubjectKind; name: string }[]; namespaces?: string[] }) =>
  RoleBinding.create({ metadata: { name }, spec });

export async function startAuthServer({ oidc = [] }: { oidc?: object[] } = {}) {
  const directory = mkdtempSync(join(tmpdir(), "drover-auth-"));
  const store = new MemoryStore({ identity: { storeId: "store", incarnation: "test" } });
  const parts = { clock: systemClock, random: systemRandom, log: silentLog };
  const config = {
    pki: { directory: join(directory, "pki"), trustDomain: "drover", names: [] },
    listen: { unix: join(directory, "api.sock"), public: "127.0.0.1:0" },
    auth: v.parse(authSchema, { oidc }),
  };
  const authority = await Authority.open({ directory: config.pki.directory, trustDomain: "drover", ...parts });
  const assembly = await assemble({ store, leaseMs: 15_000, authority, ...parts });
  const { trust, running } = await openTrust(authority, { config, ...parts }, { parts: assembly.parts, signal: assembly.parts.stopping });
  const listening = await listenAll(listenersOf(config, assembly.parts, trust), assembly.server);
  const address = `127.0.0.1:${listening.find(({ name }) => name === "public")!.port}`;
  const ca = join(config.pki.directory, "ca.pem");
  const connections: Connection[] = [];
  const open = (connection: Connection) => {
    connections.push(connection);
    return connection;
  };
  /** Files of a client certificate. */
  async function certificate(name: string, groups: readonly string[] = [], ttlMs = 3_600_000) {
    const keys = await newKeyPair();
    const { pem } = await authority.issueUser({ name, groups, ttlMs, publicKey: keys.publicKey });
    const [cert, key] = [join(directory, `${name}.pem`), join(directory, `${name}.key`)];
    writeFileSync(cert, pem);
    writeFileSync(key, await privateKeyPem(keys));
    return { ca, cert, key };
  }
  return {
    address, ca, store, authority, directory, certificate,
    admin: clientsOf(open(connect({ server: `unix://${config.listen.unix}` }))),
    /** Without a certificate; calls may carry a token. */
    stranger: clientsOf(open(connect({ server: address, tls: { ca } }))),
    as: async (name: string, groups?: readonly string[], ttlMs?: number) => clientsOf(open(connect({ server: address, tls: await certificate(name, groups, ttlMs) }))),
    connect: (tls: { ca: string; cert: string; key: string }) => open(connect({ server: address, tls })),
    async [Symbol.asyncDispose]() {
      for (const connection of connections) connection[Symbol.dispose]();
      await Promise.all([assembly.stop(), ...listening.map((each) => each.close(500))]);
      await running;
      rmSync(directory, { recursive: true });
    },
  };
}
export type AuthServer = Awaited<ReturnType<typeof startAuthServer>>;
