"""Shows a stream: pip install websockets opencv-python, then viewer.py ws://HOST:8002/ws?stream=cam0"""
import asyncio, sys
import websockets

async def watch(url, show):
    newest = asyncio.Queue(1)
    async def take(ws):                       # off the socket at once, and keep only the newest:
        async for jpeg in ws:                 # so a slow window never shows the past
            if newest.full():
                newest.get_nowait()
            newest.put_nowait(jpeg)
    async with websockets.connect(url, max_size=8 << 20, max_queue=1, compression=None) as ws:
        taking = asyncio.create_task(take(ws))
        while not taking.done():
            show(await newest.get())
            await asyncio.sleep(0)

def window(jpeg):
    import cv2, numpy
    cv2.imshow("framebus", cv2.imdecode(numpy.frombuffer(jpeg, numpy.uint8), cv2.IMREAD_COLOR))
    cv2.waitKey(1)

if __name__ == "__main__":
    asyncio.run(watch(sys.argv[1], window))
