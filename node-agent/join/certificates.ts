/** Two new keys and what the authority makes of them. The keys never leave this process but to this host's disk. */
import type { NodeCertificates } from "../../gen/drover/agent/v1/agent.ts";
import { NodeAgentServiceDefinition } from "../../gen/drover/agent/v1/agent.ts";
import type { Connection } from "../../lib/client.ts";
import { deadline } from "../../lib/clock.ts";
import type { Clock } from "../../lib/clock.ts";
import { newRequest } from "../../lib/pki/keys.ts";
import type { IdentityPem } from "./identity-files.ts";

export type Requests = { csrPem: string; migrationCsrPem: string };
export type Obtained = { pem: IdentityPem; certificates: NodeCertificates };

const RENEW_TIMEOUT_MS = 10_000;

/** Asks as the node that the connection's certificate is of. */
export async function renewOver(
  connection: Pick<Connection, "client">,
  requests: Requests,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<NodeCertificates | undefined> {
  using limit = deadline(clock, RENEW_TIMEOUT_MS, signal);
  const { certificates } = await connection.client(NodeAgentServiceDefinition).renewCertificate(requests, { signal: limit.signal });
  return certificates;
}

/** `ask` sends the requests to whoever may answer them. */
export async function obtain(ask: (requests: Requests) => Promise<NodeCertificates | undefined>): Promise<Obtained> {
  const [node, migration] = await Promise.all([newRequest(), newRequest()]);
  const certificates = await ask({ csrPem: node.csrPem, migrationCsrPem: migration.csrPem });
  if (!certificates) throw new Error("The answer carries no certificates");
  const { caPem, migrationCaPem, certificatePem, migrationCertificatePem } = certificates;
  const pem = {
    ca: caPem,
    migrationCa: migrationCaPem,
    node: { cert: certificatePem, key: node.keyPem },
    migration: { cert: migrationCertificatePem, key: migration.keyPem },
  };
  return { pem, certificates };
}
