"""Shows a stream: pip install websockets opencv-python, then viewer.py ws://HOST:8002/ws?stream=cam0"""
import asyncio, sys
import websockets

async def main(url, show):
    newest = asyncio.Event(), [None]
    async def take(ws):                       # off the socket at once, and keep only the newest:
        async for jpeg in ws:                 # so a slow window never shows old pictures
            newest[1][0] = jpeg
            newest[0].set()
    async with websockets.connect(url, max_size=8 << 20, max_queue=1, compression=None) as ws:
        taking = asyncio.create_task(take(ws))
        while not taking.done():
            await newest[0].wait()
            newest[0].clear()
            show(newest[1][0])

def window(jpeg):
    import cv2, numpy
    cv2.imshow("framebus", cv2.imdecode(numpy.frombuffer(jpeg, numpy.uint8), cv2.IMREAD_COLOR))
    cv2.waitKey(1)

if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], window))
