"""Carries connections between this machine's loopback and the networks of nodes: python relay.py JSON.

A node has a network namespace to itself, without any link to the outside. A socket belongs to the namespace that it
was made in, whoever uses it later; so one process with sockets in several namespaces is all the wiring there is.

The JSON has `services` ({netns, listen: [address, port], connect: [address, port]}: from inside a node to this
machine) and `egress`, for what API servers ask of an egress selector: HTTP CONNECT at `listen`, which is the path of a
Unix socket or an address and port, to one of `networks`: {"10.64.1.0/24": {"netns": …} or {"proxy": [address, port]}}.
A network namespace is given as its file below /proc.
"""

import asyncio
import contextlib
import ctypes
import ipaddress
import json
import os
import socket
import sys

CLONE_NEWNET = 0x40000000
CHUNK = 65536

_libc = ctypes.CDLL(None, use_errno=True)


def a_socket(netns: str) -> socket.socket:
    """A TCP socket that lives in this network namespace."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(netns, os.O_RDONLY)
    try:
        _enter(there)
        try:
            made = socket.socket()
        finally:
            _enter(home)
    finally:
        os.close(home)
        os.close(there)
    made.setblocking(False)
    return made


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter a network namespace")


async def serve_service(netns: str, listen: list, connect: list) -> None:
    listening = a_socket(netns)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(tuple(listen))

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(*connect)
        except OSError:
            # What a server that is not there would answer.
            writer.transport.abort()
        else:
            await join(reader, writer, *there)

    await asyncio.start_server(on_connection, sock=listening, backlog=512)


async def serve_egress(listen: str | list, networks: dict[str, dict]) -> None:
    by_network = {ipaddress.ip_network(network): way for network, way in networks.items()}

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        host, _, port = head.split()[1].decode().rpartition(":")
        try:
            address = ipaddress.ip_address(host)
            way = next(way for network, way in by_network.items() if address in network)
            if "proxy" in way:
                there = await asyncio.open_connection(*way["proxy"])
                # It answers for itself.
                there[1].write(head)
            else:
                inside = a_socket(way["netns"])
                await asyncio.get_running_loop().sock_connect(inside, (host, int(port)))
                there = await asyncio.open_connection(sock=inside)
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        except (OSError, ValueError, StopIteration) as err:
            writer.write(f"HTTP/1.1 502 {str(err) or 'no such network'}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            writer.close()
        else:
            await join(reader, writer, *there)

    if isinstance(listen, str):
        await asyncio.start_unix_server(on_connection, listen)
    else:
        await asyncio.start_server(on_connection, *listen)


async def join(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    """Carry both ways until both sides have ended; a reset on one side becomes one on the other."""
    try:
        await asyncio.gather(_carry(reader, far_writer), _carry(far_reader, writer))
    except OSError:
        writer.transport.abort()
        far_writer.transport.abort()
    finally:
        writer.close()
        far_writer.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof()


async def main() -> None:
    wanted = json.loads(sys.argv[1])
    for service in wanted.get("services", ()):
        await serve_service(service["netns"], service["listen"], service["connect"])
    if egress := wanted.get("egress"):
        await serve_egress(egress["listen"], egress["networks"])
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
