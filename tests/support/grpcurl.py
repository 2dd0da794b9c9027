"""What grpcurl does, of which Debian has no package: calls by what a server tells of itself (reflection).

grpcurl.py -plaintext [-max-msg-sz BYTES] [-d JSON | -d @] HOST:PORT list | SERVICE/METHOD
"""

from __future__ import annotations

import argparse
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main() -> None:
    """As its arguments say; the answer is JSON on standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-plaintext", action="store_true", required=True)
    parser.add_argument("-max-msg-sz", type=int, default=4 * 2**20)
    parser.add_argument("-d", default="{}")
    parser.add_argument("address")
    parser.add_argument("asked")
    given = parser.parse_args()
    options = [("grpc.max_receive_message_length", given.max_msg_sz)]
    with grpc.insecure_channel(given.address, options) as channel:
        told = ProtoReflectionDescriptorDatabase(channel)
        if given.asked == "list":
            print("\n".join(told.get_services()))
            return
        service, _, name = given.asked.partition("/")
        method = descriptor_pool.DescriptorPool(told).FindServiceByName(service).methods_by_name[name]
        question = message_factory.GetMessageClass(method.input_type)()
        json_format.Parse(sys.stdin.read() if given.d == "@" else given.d, question)
        call = channel.unary_unary(f"/{service}/{name}")
        answer = message_factory.GetMessageClass(method.output_type)
        print(json_format.MessageToJson(answer.FromString(call(question.SerializeToString(), timeout=20))))


if __name__ == "__main__":
    main()
