"""Shows a stream of [8-byte little-endian size][JPEG] over TCP: sized.py HOST PORT (FRAMEBUS_SIZED_LISTEN)"""
import socket, struct, sys
import cv2, numpy

def frames(host, port):
    with socket.create_connection((host, int(port))) as s:
        stream = s.makefile("rb")
        while head := stream.read(8):
            jpeg = stream.read(struct.unpack("<Q", head)[0])
            yield cv2.imdecode(numpy.frombuffer(jpeg, numpy.uint8), cv2.IMREAD_COLOR)

if __name__ == "__main__":
    for picture in frames(*sys.argv[1:3]):
        cv2.imshow("framebus", picture)
        if cv2.waitKey(1) == ord("q"):
            break
