/** The output of `nearcast up` once everything runs: the addresses, and three commands to try. */
import { command } from "#base/command-name.ts";
import { join } from "node:path";
import { tableLines } from "../../output.ts";
import { hostPort } from "../../settings.ts";
import { sampleName } from "./first-content.ts";
import { certificateFolderOf } from "./certificate-folder.ts";
import type { Setup } from "./folder.ts";

export function welcomeValue(setup: Setup, imageHost: string): unknown {
  const { dataDir, origin, edges } = setup;
  return {
    dataDir,
    origin: { url: `http://${hostPort(origin.config.listen.host, origin.config.listen.port)}` },
    edges: edges.map(({ planned, config }) => ({
      node: config.node,
      site: config.site,
      city: planned.place.city,
      http: config.http.map(({ host, port }) => `http://${hostPort(host, port)}`),
      https: (config.https?.addresses ?? []).map(({ host, port }) => `https://${hostPort(host, port)}`),
      admin: `http://${hostPort(config.admin.host, config.admin.port)}`,
      dns: config.dns.addresses.map(({ host, port }) => hostPort(host, port)),
    })),
    host: imageHost,
    sample: sampleName,
    authority: certificateFolderOf(dataDir).authorityFile,
  };
}

export function welcomeLines(setup: Setup, imageHost: string): string[] {
  const { dataDir, origin, edges } = setup;
  const { host, port } = origin.config.listen;
  const rows = edges.map(({ planned, config }) => [
    `edge ${config.node}`,
    planned.place.city,
    config.http.map((at) => `http://${hostPort(at.host, at.port)}`)[0],
    (config.https?.addresses ?? []).map((at) => `https://${hostPort(at.host, at.port)}`)[0],
    config.dns.addresses.map((at) => hostPort(at.host, at.port))[0],
    `http://${hostPort(config.admin.host, config.admin.port)}`,
  ]);
  const first = edges[0]?.config;
  const http = first?.http[0];
  const https = first?.https?.addresses[0];
  const dns = first?.dns.addresses[0];
  const sample = join(dataDir, "sample.avif");
  const authority = join(dataDir, "tls", "authority.crt");
  const options = dataDir === "./data" ? "" : ` --data ${dataDir}`;
  const subnet = edges.length > 1 ? " +subnet=133.11.1.0/24" : "";
  return [
    "",
    ...tableLines(
      ["PROCESS", "PLACE", "HTTP", "HTTPS", "DNS", "ADMIN"],
      [["origin", dataDir, `http://${hostPort(host, port)}`], ...rows],
    ),
    "",
    `The image host is ${imageHost}; requests to a bare IP address also reach it. Try it in another terminal:`,
    "",
    ...(http === undefined
      ? []
      : [
          `  curl -sS -D- -o ${sample} -H 'Accept: image/avif' ` +
            `'http://${hostPort(http.host, http.port)}/${sampleName}?w=640&auto=format'`,
        ]),
    ...(https === undefined
      ? []
      : [
          `  curl -sS -D- -o ${sample} -H 'Accept: image/avif' --cacert ${authority} ` +
            `'https://${hostPort(https.host, https.port)}/${sampleName}?w=640&auto=format'`,
        ]),
    ...(dns === undefined ? [] : [`  dig @${dns.host} -p ${dns.port} ${imageHost}${subnet}`]),
    `  ${command} put PICTURE.jpg --to shop/first.jpg${options}`,
    "",
    ...(https === undefined
      ? []
      : [`For HTTPS in a browser, import ${authority} (how, and how to remove it: deploy/docs/tutorial.md).`, ""]),
    `Logs: ${dataDir}/*.log   Status: ${command} status${options}   Stop: Ctrl-C`,
  ];
}
